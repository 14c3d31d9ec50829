//! The prelude of the documents' snippets. It declares anew what of the library is for Apple's systems alone; here it is made
//! sure that it declares nothing that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// What comes below this line in the prelude stands in for the files of `Sources/Nightgraft/Apple`.
const MARK: &str = "// MARK: For Apple's systems";

/// The prelude's path, when all of its stand-ins are declared in the library, word for word.
///
/// # Errors
/// The stand-ins that are not.
pub fn prelude(package: &Path) -> Result<PathBuf> {
    let read =
        |file: &Path| fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let path = package.join("Tests/Readme/Prelude.swift");
    let mut library = String::new();
    for file in fs::read_dir(package.join("Sources/Nightgraft/Apple")).context("cannot read Apple's files")? {
        library += &read(&file?.path())?;
    }
    let missing = missing(&read(&path)?, &library)?;
    ensure!(missing.is_empty(), "{} declares what is not in the library: {missing:?}", path.display());
    Ok(path)
}

/// The declarations below the mark that the library does not have.
fn missing(prelude: &str, library: &str) -> Result<Vec<String>> {
    const DECLARE: &[&str] = &["class ", "struct ", "extension ", "init(", "func "];
    let (_, stand_ins) = prelude.split_once(MARK).with_context(|| format!("no line \"{MARK}\""))?;
    let code: String =
        stand_ins.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let library = words(&library.replace("public ", ""));
    let declarations = code.split(['{', '}']).map(words);
    let declarations = declarations.filter(|text| DECLARE.iter().any(|word| text.contains(word)));
    let declarations: Vec<String> = declarations.map(|text| text + " {").collect();
    ensure!(!declarations.is_empty(), "nothing is declared below \"{MARK}\"");
    Ok(declarations.into_iter().filter(|declaration| !library.contains(declaration)).collect())
}

/// Puts one space between the words of `text`.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_stand_in_for_nothing_is_named() {
        let library = "/// A key.\npublic struct Key: Sendable {\n    public func load(\n        again: Bool = false\n    ) throws -> Int {\n        7\n    }\n}\n";
        let prelude = |with: &str| {
            format!(
                "let a = f {{ 1 }}\n{MARK}\n// struct X {{\nstruct Key: Sendable {{\n    func load({with}) throws -> Int {{ 0 }}\n}}\n"
            )
        };
        assert_eq!(missing(&prelude(" again: Bool = false "), library).unwrap(), Vec::<String>::new());
        assert_eq!(missing(&prelude(""), library).unwrap(), ["func load() throws -> Int {"]);
        assert!(missing("struct A {}", library).is_err());
    }
}
