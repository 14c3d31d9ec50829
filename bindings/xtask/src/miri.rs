//! `cargo xtask miri`: the scalar kernels under Miri, which knows what every byte may be used for.

use std::path::Path;

use anyhow::Result;
use xshell::{Cmd, Shell, cmd};

use crate::program::{shell, target_folder, timed};

/// Miri is a part of nightly Rust only.
const TOOLCHAIN: &str = "nightly";

/// Parts of names of the tests that Miri runs. It is some thousand times slower than a processor, so these are about memory
/// and not about many numbers.
const ONLY: &[&str] = &["bf16::", "matrix::", "scratch::"];

/// Runs them. Where Miri cannot be had that is said; the address sanitizer's step does not need it.
pub fn run(root: &Path) -> Result<()> {
    let sh = shell(root)?;
    if !is_installed(&sh) && !install(&sh) {
        println!(
            "SKIPPED Miri: rustup cannot install it here (toolchain {TOOLCHAIN}, components miri and rust-src)"
        );
        return Ok(());
    }
    let tests = miri(&sh).args("test --locked --package nightgraft-kernels --lib --".split(' ')).args(ONLY);
    timed("the kernels under Miri", tests.env("CARGO_TARGET_DIR", target_folder(root).join("miri")))
}

fn is_installed(sh: &Shell) -> bool {
    miri(sh).arg("--version").output().is_ok()
}

fn install(sh: &Shell) -> bool {
    let components = ["--component", "miri", "--component", "rust-src"];
    cmd!(sh, "rustup toolchain install {TOOLCHAIN} --profile minimal --no-self-update {components...}")
        .run()
        .is_ok()
}

/// `cargo miri` of the toolchain that has it. What cargo told this program of its own toolchain must not reach it.
fn miri(sh: &Shell) -> Cmd<'_> {
    let own = ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"];
    own.iter().fold(cmd!(sh, "rustup run {TOOLCHAIN} cargo miri"), |command, name| command.env_remove(name))
}
