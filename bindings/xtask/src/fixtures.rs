//! What the test suites of all languages need: the library, two models, the scenario.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::program::{build_in_workspace, shell, target_folder};

/// Names the real model; when it is set already, that file is used.
pub const MODEL_VARIABLE: &str = "NIGHTGRAFT_SMOLLM2";

/// Files that were made or found.
pub struct Fixtures {
    variables: Vec<(&'static str, OsString)>,
}

impl Fixtures {
    /// The environment of a test suite.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.variables.iter().map(|(name, value)| (*name, value))
    }
}

/// Makes the tiny model and finds the real one.
pub fn make(root: &Path) -> Result<Fixtures> {
    let variables = vec![
        ("NIGHTGRAFT_TINY", tiny(root)?.into()),
        (MODEL_VARIABLE, smollm2(root)?.into()),
        ("NIGHTGRAFT_SCENARIO", root.join("tests/data/scenario").into()),
    ];
    Ok(Fixtures { variables })
}

/// Makes the tiny model.
pub fn tiny(root: &Path) -> Result<PathBuf> {
    let model = cache()?.join("tiny.gguf");
    let (sh, example) = (shell(root)?, build(root)?.join("examples/tiny_model"));
    cmd!(sh, "{example} {model}").run()?;
    Ok(model)
}

/// The real model; fetched if nothing names it.
pub fn smollm2(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(MODEL_VARIABLE) {
        return std::fs::canonicalize(path).with_context(|| format!("{MODEL_VARIABLE} names no file"));
    }
    let (sh, nightgraft) = (shell(root)?, build(root)?.join("nightgraft"));
    let path = cmd!(sh, "{nightgraft} fetch smollm2-135m").read();
    let path = path.with_context(|| {
        format!("the model could not be fetched; name the file in {MODEL_VARIABLE} if you have it")
    })?;
    Ok(path.into())
}

/// Builds the programs that make and fetch models, and says in which folder they lie.
fn build(root: &Path) -> Result<PathBuf> {
    let sh = shell(root)?;
    build_in_workspace(&sh).args(["--quiet", "--bin", "nightgraft", "--example", "tiny_model"]).run()?;
    Ok(target_folder(root).join("release"))
}

/// The folder for what is not to be made twice.
pub fn cache() -> Result<PathBuf> {
    let named = std::env::var_os("NIGHTGRAFT_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/nightgraft"));
    let Some(folder) = named.or_else(home) else { bail!("neither NIGHTGRAFT_CACHE nor HOME is set") };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
