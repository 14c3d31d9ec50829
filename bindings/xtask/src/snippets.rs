//! The code that the documents show, as sources that a compiler takes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::documents::{Block, blocks, documents};

/// How a language's snippets become files.
pub struct Language {
    /// The word behind the fence.
    tag: &'static str,
    extension: &'static str,
    /// A file that declares what snippets take for granted. Its imports are those of a document that shows none.
    prelude: Option<&'static str>,
    /// What a snippet of statements is put into, up to the name.
    function: Option<(&'static str, &'static str)>,
}

pub const KOTLIN: Language = Language {
    tag: "kotlin",
    extension: "kt",
    prelude: Some("android/sample/src/test/kotlin/org/nightgraft/readme/Prelude.kt"),
    function: Some(("suspend fun ", "() {")),
};

pub const SWIFT: Language = Language {
    tag: "swift",
    extension: "swift",
    prelude: Some("ios/Tests/Readme/Prelude.swift"),
    function: Some(("@MainActor func ", "() async throws {")),
};

/// Each snippet is a part of a module.
pub const PYTHON: Language = Language { tag: "python", extension: "py", prelude: None, function: None };

/// Writes a file for each document that shows the language, named for it, into a folder that is made. Returns the files.
///
/// # Errors
/// If no document shows it, or a file cannot be read or written.
pub fn write(root: &Path, language: &Language, folder: &Path) -> Result<Vec<PathBuf>> {
    let read =
        |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let prelude = language.prelude.map(read).transpose()?.unwrap_or_default();
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut files = Vec::new();
    for document in documents(root).context("cannot read docs")? {
        let name = document.trim_end_matches(".md").replace(|c: char| !c.is_alphanumeric(), "_");
        if let Some(source) = source(&name, &read(&document)?, language, &prelude) {
            let file = folder.join(name).with_extension(language.extension);
            fs::write(&file, source).with_context(|| format!("cannot write {}", file.display()))?;
            files.push(file);
        }
    }
    ensure!(!files.is_empty(), "no document shows any {}", language.tag);
    Ok(files)
}

/// The snippet of a document that declares a function, as a file of its own.
///
/// # Errors
/// If the document does not show it, or a file cannot be read.
pub fn declaring(root: &Path, language: &Language, document: &str, function: &str) -> Result<String> {
    let read =
        |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let mut snippets = blocks(&read(document)?).into_iter().filter(|block| block.language == language.tag);
    let snippet = snippets.find(|block| block.text.contains(&format!(" {function}(")));
    let text = snippet.with_context(|| format!("{document} does not show {function}"))?.text;
    let prelude = language.prelude.map(read).transpose()?.unwrap_or_default();
    Ok(imports(&text, &prelude) + "\n" + &text)
}

/// A document's snippets, each on the lines where the document has it, so that a compiler's messages lead there. None if there
/// are none.
fn source(name: &str, document: &str, language: &Language, prelude: &str) -> Option<String> {
    let snippets: Vec<Block> =
        blocks(document).into_iter().filter(|block| block.language == language.tag).collect();
    let mut lines = vec![String::new(); document.lines().count() + 1];
    for Block { line, text, .. } in &snippets {
        for (place, code) in (*line..).zip(text.lines()) {
            lines[place] = code.to_owned();
        }
        if let Some((before, after)) = language.function
            && !declares(text)
        {
            lines[line - 1] = format!("{before}{name}_{line}{after}");
            lines[line + text.lines().count()] = "}".to_owned();
        }
    }
    // Documents begin with a heading, so the first line is free.
    lines[0] = imports(&lines.join("\n"), prelude);
    (!snippets.is_empty()).then(|| lines.join("\n") + "\n")
}

/// What a file takes from the prelude, on one line: nothing when it has imports of its own.
fn imports(code: &str, prelude: &str) -> String {
    if code.lines().any(|line| line.starts_with("import ")) {
        return String::new();
    }
    let imports =
        prelude.lines().filter(|line| ["package ", "import "].iter().any(|word| line.starts_with(word)));
    imports.collect::<Vec<_>>().join("; ")
}

/// Whether it begins as a file does, not as the inside of a function.
fn declares(text: &str) -> bool {
    const WORDS: &[&str] = &["class", "fun", "func", "import", "struct", "suspend"];
    text.split_whitespace().next().is_some_and(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PRELUDE: &str = "package a\n\nimport b.c\nimport d\n\nval path = 1\n";

    #[test]
    fn snippets_keep_their_lines() {
        let document = "# Title\n\n```sh\nmake\n```\n```kotlin\nopen(path)\n\nclose()\n```\n\n  ```kotlin\nfun f() = 1\n  ```\n";
        let kotlin = "package a; import b.c; import d\n\n\n\n\nsuspend fun X_6() {\nopen(path)\n\nclose()\n}\n\n\nfun f() = 1\n\n\n";
        assert_eq!(source("X", document, &KOTLIN, PRELUDE).unwrap(), kotlin);
        assert_eq!(source("X", document, &SWIFT, PRELUDE), None);
    }

    #[test]
    fn a_document_with_imports_has_only_those() {
        let document = "# Title\n```swift\nimport A\n\nfunc f() {}\n```\n```swift\nf()\n";
        let swift = "\n\nimport A\n\nfunc f() {}\n\n@MainActor func X_7() async throws {\nf()\n}\n";
        assert_eq!(source("X", document, &SWIFT, "import B\n").unwrap(), swift);
    }

    #[test]
    fn a_module_of_python_is_left_as_it_is() {
        let document = "# Title\n```python\nprint(1)\n```\n";
        assert_eq!(source("X", document, &PYTHON, "").unwrap(), "\n\nprint(1)\n\n\n");
    }
}
