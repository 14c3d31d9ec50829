//! The public Swift API as lines of text, in the order of the alphabet.
//!
//! The compiler's symbol graph has all that is active on this machine. What stands between `#if` and `#endif` may be for Apple's
//! systems alone: it is listed as its source has it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::documentation::{name, read_graph, swift_files};

/// What types have unless they give it up, which compilers of different versions tell or do not tell.
const IMPLIED: &[&str] = &["Swift.Copyable", "Swift.Escapable", "Swift.SendableMetatype"];

/// One line for each symbol, conformance and declaration under a condition.
pub fn list(graphs: &[PathBuf], sources: &Path) -> Result<String> {
    let mut lines = BTreeSet::new();
    for graph in graphs {
        lines.extend(of_graph(&read_graph(graph)?)?);
    }
    for file in swift_files(sources)? {
        let source = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let file = file.file_name().context("a source is a file")?.to_string_lossy();
        lines.extend(under_conditions(&source).into_iter().map(|text| format!("{file}: {text}")));
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

fn of_graph(graph: &Value) -> Result<BTreeSet<String>> {
    let part = |name: &str| graph[name].as_array().with_context(|| format!("the symbol graph has no {name}"));
    let symbols = part("symbols")?;
    let names: HashMap<_, _> = symbols
        .iter()
        .filter_map(|symbol| Some((symbol["identifier"]["precise"].as_str()?, name(symbol))))
        .collect();
    let declared = symbols.iter().map(|symbol| format!("{}: {}", name(symbol), declaration(symbol)));
    let conforming = part("relationships")?.iter().filter(|relation| relation["kind"] == "conformsTo");
    let conforming = conforming.filter_map(|relation| {
        let source = names.get(relation["source"].as_str()?)?;
        let own = || names.get(relation["target"].as_str()?).map(String::as_str);
        let target = relation["targetFallback"].as_str().or_else(own)?;
        (!IMPLIED.contains(&target)).then(|| format!("{source}: {target}"))
    });
    Ok(declared.chain(conforming).collect())
}

/// The declaration on one line.
fn declaration(symbol: &Value) -> String {
    let parts = symbol["declarationFragments"].as_array().map(Vec::as_slice).unwrap_or_default();
    words(&parts.iter().filter_map(|part| part["spelling"].as_str()).collect::<String>())
}

/// The public declarations between `#if` and `#endif`, up to their bodies.
fn under_conditions(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut conditions = 0_usize;
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        match line {
            _ if line.starts_with("#if ") => conditions += 1,
            "#endif" => conditions = conditions.saturating_sub(1),
            _ if conditions > 0 && line.starts_with("public ") => {
                let mut text = line.to_owned();
                while is_open(&text) {
                    let Some(next) = lines.next() else { break };
                    text = format!("{text} {next}");
                }
                found.push(words(head(&text)));
            }
            _ => {}
        }
    }
    found
}

/// Whether a parenthesis is not closed yet.
fn is_open(text: &str) -> bool {
    text.matches('(').count() > text.matches(')').count()
}

/// What stands before the body.
fn head(text: &str) -> &str {
    let mut depth = 0_i32;
    let body = text.char_indices().find(|(_, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        *c == '{' && depth == 0
    });
    body.map_or(text, |(place, _)| &text[..place])
}

/// One space between the words, and none within parentheses beside them.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn symbols_and_conformances_are_lines() {
        let graph = r#"{
            "symbols": [
                {"identifier": {"precise": "s:S"}, "pathComponents": ["Store"],
                 "declarationFragments": [{"spelling": "struct"}, {"spelling": " "}, {"spelling": "Store"}]},
                {"identifier": {"precise": "s:o"}, "pathComponents": ["Store", "open(at:)"],
                 "declarationFragments": [{"spelling": "func open(\n    at: "}, {"spelling": "URL"}, {"spelling": "\n)"}]}
            ],
            "relationships": [
                {"kind": "memberOf", "source": "s:o", "target": "s:S"},
                {"kind": "conformsTo", "source": "s:S", "target": "s:s8SendableP", "targetFallback": "Swift.Sendable"},
                {"kind": "conformsTo", "source": "s:S", "target": "s:s8CopyableP", "targetFallback": "Swift.Copyable"}
            ]
        }"#;
        let lines: Vec<String> =
            of_graph(&serde_json::from_str(graph).unwrap()).unwrap().into_iter().collect();
        assert_eq!(
            lines,
            ["Store.open(at:): func open(at: URL)", "Store: Swift.Sendable", "Store: struct Store"]
        );
    }

    #[test]
    fn what_is_for_one_system_is_read_from_its_source() {
        let source = "public struct Everywhere {}\n#if canImport(UIKit)\n/// A key.\npublic struct Key: Sendable {\n    \
                      public init(\n        name: String = \"a\", make: () -> Int = { 1 }\n    ) {\n    }\n    \
                      public var count: Int { 7 }\n    var hidden = 1\n}\n#endif\npublic func everywhere() {}\n";
        assert_eq!(
            under_conditions(source),
            [
                "public struct Key: Sendable",
                "public init(name: String = \"a\", make: () -> Int = { 1 })",
                "public var count: Int"
            ]
        );
    }
}
