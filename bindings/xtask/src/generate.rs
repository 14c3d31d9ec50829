//! `cargo xtask generate`: builds the library of the bindings and has `bindings/generator` write what belongs to it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::program::{self, cargo};

/// Writes the generated files, or with `--check` fails if they are out of date.
pub fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    if !matches!(arguments, [] | ["--check"]) {
        bail!("usage: cargo xtask generate [--check]");
    }
    let library = library(root)?;
    let mut generator = Command::new(cargo());
    generator.args(["run", "--quiet", "--release", "--locked", "--package", "nightgraft-generator", "--"]);
    program::run(generator.current_dir(root).arg(root).arg(library).args(arguments))
}

/// Builds the library for this machine and says where it lies.
pub fn library(root: &Path) -> Result<PathBuf> {
    let mut build = Command::new(cargo());
    build.args(["build", "--release", "--locked", "--package", "nightgraft-ffi"]);
    program::run(build.current_dir(root))?;
    let name = format!("{}nightgraft_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    Ok(program::target_folder(root).join("release").join(name))
}
