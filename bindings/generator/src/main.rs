//! The Kotlin, Swift and Python sides of `bindings/ffi`, written by uniffi's generator and kept in the repository.
//!
//! They are kept so that an app's build needs neither this workspace nor the generator; `--check` tells when they no
//! longer belong to the Rust code.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use camino::Utf8PathBuf;
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

/// What the generator writes, and where it is kept.
const FILES: &[(&str, &str)] = &[
    (
        "org/nightgraft/ffi/nightgraft_ffi.kt",
        "android/nightgraft/src/generated/kotlin/org/nightgraft/ffi/nightgraft_ffi.kt",
    ),
    ("NightgraftGenerated.swift", "ios/Sources/NightgraftGenerated/NightgraftGenerated.swift"),
    ("NightgraftFFI.h", "ios/Sources/NightgraftFFI/include/NightgraftFFI.h"),
    ("NightgraftFFI.modulemap", "ios/Sources/NightgraftFFI/include/module.modulemap"),
    ("nightgraft_ffi.py", "bindings/python/nightgraft/nightgraft_ffi.py"),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [root, library] => write_or_check(root.as_ref(), library.as_ref(), false),
        [root, library, "--check"] => write_or_check(root.as_ref(), library.as_ref(), true),
        _ => bail!(
            "usage: nightgraft-generator REPOSITORY LIBRARY [--check]; cargo xtask generate builds the library first"
        ),
    }
}

/// Writes the files, or with `check` fails if they differ from what would be written.
fn write_or_check(root: &Path, library: &Path, check: bool) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let utf8 = |path: PathBuf| Utf8PathBuf::from_path_buf(path).ok().context("a path is not UTF-8");
    generate(GenerateOptions {
        languages: vec![TargetLanguage::Kotlin, TargetLanguage::Swift, TargetLanguage::Python],
        source: utf8(library.to_owned())?,
        out_dir: utf8(scratch.path().to_owned())?,
        config_override: None,
        format: false,
        crate_filter: None,
        metadata_no_deps: true,
    })?;
    let mut stale = Vec::new();
    for (made, kept) in FILES {
        let text = fs::read_to_string(scratch.path().join(made))
            .with_context(|| format!("the generator made no {made}"))?;
        let text = if made.ends_with(".kt") { make_internal(&text) } else { trim_line_ends(&text) };
        let path = root.join(kept);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        stale.push(*kept);
        if !check {
            fs::create_dir_all(path.parent().context("a file has a folder")?)?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    match (check, stale.as_slice()) {
        (_, []) => println!("{} generated files are up to date", FILES.len()),
        (false, stale) => println!("written:\n  {}", stale.join("\n  ")),
        (true, stale) => bail!(
            "generated files do not belong to bindings/ffi any more; run: cargo xtask generate\n  {}",
            stale.join("\n  ")
        ),
    }
    Ok(())
}

/// Kotlin's declarations are public where nothing else is said; these are nobody's business but the library's.
fn make_internal(kotlin: &str) -> String {
    const DECLARATIONS: &[&str] = &[
        "abstract",
        "annotation",
        "class",
        "const",
        "data",
        "enum",
        "external",
        "fun",
        "inline",
        "interface",
        "object",
        "open",
        "sealed",
        "suspend",
        "typealias",
        "val",
        "value",
        "var",
    ];
    let line = |line: &str| {
        // A function that has a comment begins on the comment's last line.
        if let Some((comment, function)) = line.split_once("*/ fun ") {
            return format!("{comment}*/ internal fun {function}");
        }
        // One that waits stands behind its annotations, a space further in than what is in a class.
        let line = line.strip_prefix("     ").filter(|rest| rest.starts_with("suspend fun ")).unwrap_or(line);
        let line = line.strip_prefix("public ").unwrap_or(line);
        let word = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        if DECLARATIONS.contains(&word) { format!("internal {line}") } else { line.to_owned() }
    };
    trim_line_ends(&kotlin.lines().map(line).collect::<Vec<_>>().join("\n"))
}

/// Without spaces at the ends of lines, and with one line end at the end.
fn trim_line_ends(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_level_declarations_become_internal() {
        let made = "package a\n\npublic interface B {\n    fun c()  \n}\ndata class D(\nval e: Int)\n@Suppress(\"x\")\nfun f() = 1\n  */ fun g() = 2\n     suspend fun h() = 3\nvalid\n";
        let kept = "package a\n\ninternal interface B {\n    fun c()\n}\ninternal data class D(\ninternal val e: Int)\n@Suppress(\"x\")\ninternal fun f() = 1\n  */ internal fun g() = 2\ninternal suspend fun h() = 3\nvalid\n";
        assert_eq!(make_internal(made), kept);
    }
}
