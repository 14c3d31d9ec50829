//! The documents that show commands and code, and the blocks in them. `tests/docs.rs` reads them through this file too, so that
//! what one of the two looks at is what the other looks at.

use std::{fs, io, path::Path};

/// What stands between two fences.
pub struct Block {
    /// The word behind the opening fence.
    pub language: String,
    /// The line of the opening fence; the first is 1.
    pub line: usize,
    /// The lines between the fences.
    pub text: String,
}

/// The documents, by their paths below the root.
///
/// # Errors
/// If `docs` cannot be read.
pub fn documents(root: &Path) -> io::Result<Vec<String>> {
    let readmes =
        ["", "android/", "android/nightgraft-testing/", "android/nightgraft-work/", "bindings/", "ios/"];
    let mut found = readmes.map(|folder| format!("{folder}README.md")).to_vec();
    for folder in ["docs", "docs/architecture"] {
        for entry in fs::read_dir(root.join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.extend(name.ends_with(".md").then(|| format!("{folder}/{name}")));
        }
    }
    found.sort();
    Ok(found)
}

/// All blocks of a document. Indented fences count, and one that is never closed ends with the document: what is no block for a
/// reader is then not overlooked either.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (place, line) in document.lines().enumerate() {
        let fence = ["```", "~~~"].iter().find_map(|fence| line.trim_start().strip_prefix(fence));
        match (fence, blocks.last_mut()) {
            (Some(_), _) if is_inside => is_inside = false,
            (Some(language), _) => {
                is_inside = true;
                blocks.push(Block { language: language.trim().into(), line: place + 1, text: String::new() });
            }
            (None, Some(block)) if is_inside => block.text = format!("{}{line}\n", block.text),
            (None, _) => {}
        }
    }
    blocks
}
