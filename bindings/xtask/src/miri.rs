//! `cargo xtask miri`: the scalar kernels and the readers of model files and texts under Miri, which knows what every
//! byte may be used for.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    artifacts::Artifacts,
    program::{cargo, target_folder, timed},
};

/// Miri is a part of nightly Rust only.
const TOOLCHAIN: &str = "nightly";

/// Tests that Miri runs. It is some thousand times slower than a processor, so these are those that are about memory
/// and not about many numbers.
struct Trial {
    package: &'static str,
    /// Parts of test names.
    only: &'static [&'static str],
    /// Parts of names of tests to leave out, for their time.
    without: &'static [&'static str],
}

const TRIALS: &[Trial] = &[
    Trial {
        package: "nightgraft-kernels",
        only: &["bf16::", "matrix::", "rope::", "scratch::", "swiglu::", "weights::"],
        without: &["bit_patterns"],
    },
    Trial { package: "nightgraft-core", only: &["gguf::", "text::"], without: &[] },
];

/// Runs all trials. Where Miri cannot be had that is said; the address sanitizer's step does not need it.
pub fn run(root: &Path) -> Result<()> {
    if !is_installed() && !install() {
        println!(
            "SKIPPED Miri: rustup cannot install it here (toolchain {TOOLCHAIN}, components miri and rust-src)"
        );
        return Ok(());
    }
    // Miri runs no C++, and none is run by these tests; the bindings are enough.
    let mut build = Command::new(cargo());
    build.current_dir(root).args(["build", "--release", "--locked"]);
    let llama = Artifacts::build(&mut build)?.llama.context("nothing of the build is llama.cpp's")?;
    let folder = target_folder(root).join("miri");
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("llama.toml");
    fs::write(&configuration, llama.instead_of_building(&host()?, false)?)?;
    for trial in TRIALS {
        let mut command = miri();
        command
            .current_dir(root)
            .env("CARGO_TARGET_DIR", &folder)
            .arg("test")
            .arg("--config")
            .arg(&configuration);
        command.args(["--locked", "--package", trial.package, "--lib", "--", "--quiet"]).args(trial.only);
        command.args(trial.without.iter().flat_map(|name| ["--skip", name]));
        timed(&format!("{} under Miri", trial.package), &mut command)?;
    }
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
    // The tests of texts read files of this repository, which Miri shuts out unless told.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    command
}

/// The target that this machine runs.
fn host() -> Result<String> {
    let output = Command::new(crate::program::rustc()).arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its target")?.to_owned())
}
