//! `cargo xtask miri`: the scalar kernels under Miri, which knows what every byte may be used for.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::program::{target_folder, timed};

/// Miri is a part of nightly Rust only.
const TOOLCHAIN: &str = "nightly";

/// Parts of names of the tests that Miri runs. It is some thousand times slower than a processor, so these are about memory
/// and not about many numbers.
const ONLY: &[&str] = &["bf16::", "matrix::", "scratch::"];

/// Runs them. Where Miri cannot be had that is said; the address sanitizer's step does not need it.
pub fn run(root: &Path) -> Result<()> {
    if !is_installed() && !install() {
        println!(
            "SKIPPED Miri: rustup cannot install it here (toolchain {TOOLCHAIN}, components miri and rust-src)"
        );
        return Ok(());
    }
    let mut command = miri();
    command.current_dir(root).env("CARGO_TARGET_DIR", target_folder(root).join("miri"));
    command.args(["test", "--locked", "--package", "nightgraft-kernels", "--lib", "--"]).args(ONLY);
    timed("the kernels under Miri", &mut command)?;
    Ok(())
}

fn is_installed() -> bool {
    miri().arg("--version").output().is_ok_and(|output| output.status.success())
}

fn install() -> bool {
    let mut command = Command::new("rustup");
    command.args(["toolchain", "install", TOOLCHAIN, "--profile", "minimal", "--no-self-update"]);
    command.args(["--component", "miri", "--component", "rust-src"]);
    command.status().is_ok_and(|status| status.success())
}

/// `cargo miri` of the toolchain that has it. What cargo told this program of its own toolchain must not reach it.
fn miri() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", TOOLCHAIN, "cargo", "miri"]);
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}
