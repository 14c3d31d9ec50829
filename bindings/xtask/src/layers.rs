//! The order of the engine's modules, and the check that no import goes against it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::imports::{Import, imports};

/// From the top down: a module may use what stands in the rows below its own. `core/ARCHITECTURE.md` draws it.
const LAYERS: &[&[&str]] = &[
    &["session"],
    &["store"],
    &["train", "generate"],
    &["transformer", "checkpoint", "export"],
    &["lora"],
    &["config", "data"],
    &["base", "text", "ops", "testing"],
    &["gguf"],
    &["vault", "policy", "gate"],
    &["atomic"],
    &["file_system", "memory", "random"],
    &["error"],
];

/// What the crate's root exports itself, and the module it comes from.
const ROOT_ITEMS: &[(&str, &str)] = &[
    ("CheckpointProblem", "error"),
    ("Error", "error"),
    ("Inconsistency", "error"),
    ("Result", "error"),
    ("TemplateFault", "error"),
    ("Unlogged", "error"),
];

/// Crates of which only some modules may know.
const CRATES: &[(&str, &[&str])] = &[
    (
        "nightgraft_ggml",
        &["error", "memory", "gguf", "base", "ops", "lora", "transformer", "export", "generate"],
    ),
    ("nightgraft_kernels", &["gguf", "base", "ops", "lora", "transformer", "export", "testing"]),
    ("llama_cpp_2", &["generate"]),
    ("llama_cpp_sys_2", &[]),
];

/// What the outer packages may use of the engine.
const SURFACE: &[&str] = &["session", "store", "policy", "gate", "config", "Error", "Result", "Unlogged"];

/// The folders of those outer packages.
const OUTER: &[&str] = &["core/cli", "bindings/ffi/src"];

/// Checks all files; returns how many there are, or all violations.
pub fn check(root: &Path) -> Result<usize> {
    let mut violations = Vec::new();
    let mut files = 0;
    let engine = root.join("core/src");
    for path in rust_files(&engine)? {
        files += 1;
        let Some(module_path) = ModulePath::of(&path, &engine) else { continue };
        let crates: Vec<_> = CRATES.iter().map(|(name, _)| *name).collect();
        for import in imports_of(&path, &module_path.module, &crates)? {
            if let Some(problem) = violation(&module_path.module[0], &import) {
                violations.push(format!("{}:{}: {problem}", relative(&path, root), import.line));
            }
        }
    }
    for folder in OUTER.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()) {
        for path in rust_files(&folder)? {
            files += 1;
            for import in
                imports_of(&path, &[], &["nightgraft_core", "nightgraft_ggml", "nightgraft_kernels"])?
            {
                if let Some(problem) = outer_violation(&import) {
                    violations.push(format!("{}:{}: {problem}", relative(&path, root), import.line));
                }
            }
        }
    }
    if violations.is_empty() { Ok(files) } else { bail!("imports go upward:\n  {}", violations.join("\n  ")) }
}

/// Why a module of the engine must not name this, if so.
fn violation(module: &str, import: &Import) -> Option<String> {
    if let Some((_, allowed)) = CRATES.iter().find(|(name, _)| *name == import.root) {
        let problem = || format!("{module} uses {}, which only {} may", import.root, list(allowed));
        return (!allowed.contains(&module)).then(problem);
    }
    let Some(item) = &import.item else {
        return Some(format!("{module} names the whole crate; name the module"));
    };
    let target = ROOT_ITEMS.iter().find(|(name, _)| name == item).map_or(item.as_str(), |(_, module)| module);
    if target == module {
        return None;
    }
    match (layer(module), layer(target)) {
        (Some(from), Some(to)) if to > from => None,
        (Some(_), Some(_)) => Some(format!("{module} uses {target}, which is not below it")),
        (None, _) => Some(format!("{module} has no place in the table of bindings/xtask/src/layers.rs")),
        (_, None) => Some(format!("{target} has no place in the table of bindings/xtask/src/layers.rs")),
    }
}

fn outer_violation(import: &Import) -> Option<String> {
    match (import.root.as_str(), import.item.as_deref()) {
        ("crate", _) => None,
        ("nightgraft_core", Some(item)) if SURFACE.contains(&item) => None,
        ("nightgraft_core", item) => Some(format!(
            "only {} of the engine may be used here, not {}",
            list(SURFACE),
            item.unwrap_or("all of it")
        )),
        (other, _) => Some(format!("{other} is below the engine and must not be used here")),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "no module".to_owned() } else { names.join(", ") }
}

/// Rows are counted from the top.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// A file's place in the tree of modules.
struct ModulePath {
    /// Not empty.
    module: Vec<String>,
}

impl ModulePath {
    /// None for the crate's root and for files that hold tests only.
    fn of(path: &Path, engine: &Path) -> Option<Self> {
        let relative = path.strip_prefix(engine).ok()?.with_extension("");
        let mut module: Vec<_> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let root = module.is_empty() || module == ["lib"];
        let tests = module.iter().skip(1).any(|part| part == "tests");
        (!root && !tests).then_some(Self { module })
    }
}

fn imports_of(path: &Path, module: &[String], crates: &[&str]) -> Result<Vec<Import>> {
    let source = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    imports(&source, module, crates).with_context(|| path.display().to_string())
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A tree with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn violations(files: &[(&str, &str)]) -> Vec<String> {
        let error = check(tree(files).path()).unwrap_err().to_string();
        error.lines().skip(1).map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn imports_that_go_down_pass() {
        let root = tree(&[
            ("core/src/lib.rs", "pub mod session; pub use error::{Error, Result};"),
            ("core/src/session/mod.rs", "use crate::{Result, train::Trainer}; mod run;"),
            (
                "core/src/session/run.rs",
                "use super::Report; use crate::config::TrainConfig; use super::super::gguf;",
            ),
            ("core/src/train/mod.rs", "use crate::data; use crate::Error;"),
            ("core/src/ops/mod.rs", "use nightgraft_ggml::Graph;"),
            ("core/src/gguf/mod.rs", "#[cfg(test)] mod tests { use crate::session; }"),
            ("core/src/gguf/tests.rs", "use crate::session;"),
            (
                "core/cli/main.rs",
                "mod train; use nightgraft_core::{Error, session::train}; use crate::train::Args;",
            ),
        ]);
        assert_eq!(check(root.path()).unwrap(), 8);
    }

    #[test]
    fn imports_that_go_up_or_sideways_are_named() {
        let found = violations(&[
            ("core/src/gguf/file.rs", "//! Docs.\nuse crate::base::Base;"),
            ("core/src/train/mod.rs", "fn f() { super::session::train() }"),
            ("core/src/export/mod.rs", "use crate::checkpoint::Folder;"),
        ]);
        assert_eq!(
            found,
            [
                "core/src/export/mod.rs:1: export uses checkpoint, which is not below it",
                "core/src/gguf/file.rs:2: gguf uses base, which is not below it",
                "core/src/train/mod.rs:1: train uses session, which is not below it",
            ]
        );
    }

    #[test]
    fn crates_belong_to_some_modules() {
        let found = violations(&[
            ("core/src/session/mod.rs", "use nightgraft_ggml::Graph;\nuse llama_cpp_2::model::LlamaModel;"),
            ("core/src/generate/mod.rs", "use llama_cpp_2::model::LlamaModel;"),
        ]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("core/src/session/mod.rs:1: session uses nightgraft_ggml"), "{found:?}");
        assert_eq!(found[1], "core/src/session/mod.rs:2: session uses llama_cpp_2, which only generate may");
    }

    #[test]
    fn outer_packages_see_the_surface_only() {
        let found = violations(&[
            ("core/src/lib.rs", ""),
            (
                "core/cli/train.rs",
                "use nightgraft_core::{config::TrainConfig,\n gguf::File};\nuse nightgraft_ggml as g;",
            ),
        ]);
        assert_eq!(
            found,
            [
                "core/cli/train.rs:2: only session, store, policy, gate, config, Error, Result, Unlogged of the engine may be used here, not gguf",
                "core/cli/train.rs:3: nightgraft_ggml is below the engine and must not be used here",
            ]
        );
    }

    #[test]
    fn a_module_without_a_place_is_refused() {
        let found = violations(&[("core/src/magic.rs", "use crate::error::Error;")]);
        assert_eq!(
            found,
            ["core/src/magic.rs:1: magic has no place in the table of bindings/xtask/src/layers.rs"]
        );
    }
}
