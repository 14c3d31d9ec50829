//! What the test suites of all languages need: the library, two models, the scenario.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::program::{cargo, shell};

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
    let tiny = cache()?.join("tiny.gguf");
    let (sh, cargo) = (shell(root)?, cargo());
    let example = ["--package", "nightgraft-core", "--example", "tiny_model"];
    cmd!(sh, "{cargo} run --release --locked --quiet {example...} -- {tiny}").run()?;
    let variables = vec![
        ("NIGHTGRAFT_TINY", tiny.into()),
        (MODEL_VARIABLE, smollm2(root)?.into()),
        ("NIGHTGRAFT_SCENARIO", root.join("tests/data/scenario").into()),
    ];
    Ok(Fixtures { variables })
}

/// The real model; fetched if nothing names it.
pub fn smollm2(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(MODEL_VARIABLE) {
        return std::fs::canonicalize(path).with_context(|| format!("{MODEL_VARIABLE} names no file"));
    }
    let mut fetch = Command::new(cargo());
    fetch.args(["run", "--release", "--locked", "--quiet", "--package", "nightgraft", "--"]);
    fetch.args(["fetch", "smollm2-135m"]).current_dir(root).stderr(Stdio::inherit());
    let output = fetch.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the model could not be fetched; name the file in {MODEL_VARIABLE} if you have it");
    }
    let path = String::from_utf8(output.stdout).context("the path is not UTF-8")?;
    Ok(path.trim_end().into())
}

/// The folder for what is not to be made twice.
pub fn cache() -> Result<PathBuf> {
    let named = std::env::var_os("NIGHTGRAFT_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/nightgraft"));
    let Some(folder) = named.or_else(home) else { bail!("neither NIGHTGRAFT_CACHE nor HOME is set") };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
