//! What CI and contributors run: `cargo xtask ci`, `cargo xtask layers`.

mod ci;
mod generate;
mod layers;
mod scan;
mod swift;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask TASK
  ci [STEP...]   all checks, or the named steps of them; stops at the first that fails
  swift          build the Swift package, run its tests, check its documentation
  layers         fail when a module imports one that is not below it
  generate [--check]
                 write the Kotlin, Swift and Python sides of bindings/ffi, or fail if they are out of date";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = root()?;
    match words.as_slice() {
        ["ci", steps @ ..] => ci::run(&root, steps),
        ["swift"] => swift::run(&root),
        ["layers"] => {
            layers::check(&root).map(|files| println!("layers: {files} files, no import goes upward"))
        }
        ["generate", arguments @ ..] => generate::run(&root, arguments),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}\nsteps of ci: {}", ci::step_names().join(" "));
            Ok(())
        }
        _ => bail!("unknown task '{}'\n{USAGE}", words.join(" ")),
    }
}

/// The workspace's folder.
fn root() -> Result<PathBuf> {
    // Asked at run time: clones that share a build cache may also share this binary.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.ancestors().nth(2).map(Path::to_owned).context("bindings/xtask lies two folders below the workspace")
}
