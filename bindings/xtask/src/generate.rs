//! `cargo xtask generate`: builds the library of the bindings and has `bindings/generator` write what belongs to it.

use std::{
    env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use xshell::cmd;

use crate::artifacts::Artifacts;
use crate::program::{build_in_workspace, shell, target_folder};

/// Writes the generated files, or with `check` fails if they are out of date.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let library = library(root)?;
    let (sh, check) = (shell(root)?, check.then_some("--check"));
    build_in_workspace(&sh).args(["--bin", "nightgraft-generator"]).run()?;
    let generator = target_folder(root).join("release").join(format!("nightgraft-generator{EXE_SUFFIX}"));
    Ok(cmd!(sh, "{generator} {root} {library}").args(check).run()?)
}

/// Builds the library for this machine and says where it lies.
pub fn library(root: &Path) -> Result<PathBuf> {
    let sh = shell(root)?;
    // A library cannot be named in a workspace, but a test that needs it.
    let built = Artifacts::build(build_in_workspace(&sh).args(["--test", "scenario"]))?;
    let name = format!("{DLL_PREFIX}nightgraft_ffi{DLL_SUFFIX}");
    built.files.into_iter().find(|file| file.ends_with(&name)).with_context(|| format!("no {name} was built"))
}
