//! `cargo xtask generate`: builds the library of the bindings and has `bindings/generator` write what belongs to it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xshell::cmd;

use crate::program::{cargo, shell, target_folder};

/// Writes the generated files, or with `check` fails if they are out of date.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let library = library(root)?;
    let (sh, cargo, check) = (shell(root)?, cargo(), check.then_some("--check"));
    let generator = cmd!(sh, "{cargo} run --quiet --release --locked --package nightgraft-generator --");
    Ok(generator.arg(root).arg(library).args(check).run()?)
}

/// Builds the library for this machine and says where it lies.
pub fn library(root: &Path) -> Result<PathBuf> {
    let (sh, cargo) = (shell(root)?, cargo());
    cmd!(sh, "{cargo} build --release --locked --package nightgraft-ffi").run()?;
    let name = format!("{}nightgraft_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    Ok(target_folder(root).join("release").join(name))
}
