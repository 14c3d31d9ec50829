//! Every public Swift symbol has a documentation comment.
//!
//! The compiler's symbol graph knows all symbols of the code that is active on this machine. Code for Apple's systems
//! alone is not in it, so the sources are read as well: any line that begins with `public`.

use std::{
    fs, io, iter,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A module's symbol graphs below SwiftPM's build folder: its own first, then one for each module whose types it extends.
pub fn symbol_graphs(scratch: &Path, module: &str) -> Result<Vec<PathBuf>> {
    for folder in entries(scratch)? {
        let folder = folder.join("symbolgraph");
        let own = folder.join(format!("{module}.symbols.json"));
        if own.is_file() {
            let extension = format!("{module}@");
            let extends = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&extension))
            };
            return Ok(iter::once(own).chain(entries(&folder)?.into_iter().filter(extends)).collect());
        }
    }
    bail!("swift package wrote no symbol graph of {module} below {}", scratch.display())
}

/// What a symbol graph holds.
pub fn read_graph(graph: &Path) -> Result<Value> {
    let text = fs::read_to_string(graph).with_context(|| format!("cannot read {}", graph.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", graph.display()))
}

/// Returns how many public symbols there are, all documented, or names those that are not.
pub fn check(graphs: &[PathBuf], sources: &Path) -> Result<usize> {
    let mut symbols = Vec::new();
    for graph in graphs {
        let mut graph = read_graph(graph)?;
        let Value::Array(found) = graph["symbols"].take() else { bail!("a symbol graph has no symbols") };
        symbols.extend(found);
    }
    ensure!(!symbols.is_empty(), "the symbol graph is empty");
    let mut missing: Vec<String> = symbols.iter().filter(|symbol| !is_documented(symbol)).map(name).collect();
    if let Some(generated) = symbols.iter().find(|symbol| text_of(symbol).contains("NightgraftGenerated")) {
        bail!("{} shows generated code to apps", name(generated));
    }
    let mut places = 0;
    for file in swift_files(sources)? {
        let source = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (found, undocumented) = scan(&source);
        places += found;
        missing.extend(undocumented.into_iter().map(|line| format!("{}:{line}", file.display())));
    }
    ensure!(places > 0, "there is no public line in {}", sources.display());
    ensure!(missing.is_empty(), "public and not documented:\n  {}", missing.join("\n  "));
    Ok(symbols.len())
}

fn is_documented(symbol: &Value) -> bool {
    let lines = symbol["docComment"]["lines"].as_array();
    lines.is_some_and(|lines| {
        lines.iter().any(|line| line["text"].as_str().is_some_and(|text| !text.trim().is_empty()))
    })
}

/// A symbol's name below the module.
pub fn name(symbol: &Value) -> String {
    let parts = symbol["pathComponents"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(".")
}

/// A symbol's declaration as text.
fn text_of(symbol: &Value) -> String {
    let parts = symbol["declarationFragments"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(|part| part["preciseIdentifier"].as_str().or(part["spelling"].as_str())).collect()
}

/// How many lines declare something public, and which of them have no comment above them.
fn scan(source: &str) -> (usize, Vec<usize>) {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    const DECLARES: &[&str] = &["public ", "open class ", "open func ", "open var "];
    let declares = |line: &&str| DECLARES.iter().any(|words| line.starts_with(words));
    let places: Vec<usize> = (0..lines.len()).filter(|&place| declares(&lines[place])).collect();
    let is_bare = |&place: &usize| {
        let above = lines[..place].iter().rev().find(|line| !line.starts_with('@'));
        !above.is_some_and(|line| line.starts_with("///"))
    };
    let bare = places.iter().copied().filter(is_bare).map(|place| place + 1).collect();
    (places.len(), bare)
}

/// The Swift files of a folder and of those in it.
pub fn swift_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            found.extend(swift_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "swift") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What is in a folder, in the order of the alphabet.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DOCUMENTED: &str = r#"{"symbols": [{"pathComponents": ["Store", "open()"],
        "docComment": {"lines": [{"text": "Opens it."}]}, "declarationFragments": []}]}"#;

    fn checked(graph: &str, source: &str) -> Result<usize> {
        let folder = tempfile::tempdir().unwrap();
        let sources = folder.path().join("Sources");
        fs::create_dir(&sources).unwrap();
        fs::write(sources.join("Store.swift"), source).unwrap();
        let file = folder.path().join("graph.json");
        fs::write(&file, graph).unwrap();
        check(&[file], &sources)
    }

    #[test]
    fn documented_symbols_are_counted() {
        let source = "#if os(iOS)\n/// What it is.\n@MainActor\npublic struct Phone {\n    /// Its name.\n    public var name = 1\n}\n#endif\n";
        assert_eq!(checked(DOCUMENTED, source).unwrap(), 1);
    }

    #[test]
    fn a_symbol_without_a_comment_is_named() {
        let bare = DOCUMENTED.replace("Opens it.", "  ");
        let error = checked(&bare, "/// A.\npublic struct A {}\n").unwrap_err().to_string();
        assert!(error.contains("Store.open()"), "{error}");
    }

    #[test]
    fn code_for_other_systems_is_read_too() {
        let error =
            checked(DOCUMENTED, "#if os(iOS)\n\n@MainActor\npublic struct Phone {}\n#endif\n").unwrap_err();
        assert!(error.to_string().contains("Store.swift:4"), "{error}");
    }

    #[test]
    fn what_is_only_called_open_is_no_declaration() {
        assert_eq!(checked(DOCUMENTED, "/// A.\npublic struct A {\n    open = session\n}\n").unwrap(), 1);
    }

    #[test]
    fn generated_types_in_a_declaration_are_refused() {
        let shown = DOCUMENTED.replace(
            r#""declarationFragments": []"#,
            r#""declarationFragments": [{"spelling": "BaseModel", "preciseIdentifier": "s:19NightgraftGenerated9BaseModelC"}]"#,
        );
        let error = checked(&shown, "/// A.\npublic struct A {}\n").unwrap_err().to_string();
        assert!(error.contains("generated"), "{error}");
    }
}
