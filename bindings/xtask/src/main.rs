//! What CI and contributors run: `cargo xtask ci`.

mod android;
mod artifacts;
mod ci;
mod cross;
mod dependencies;
mod documents;
mod fixtures;
mod generate;
mod ios;
mod kotlin;
mod miri;
mod ndk;
mod packaged;
mod program;
mod python;
mod scenario;
mod size;
mod snippets;
mod swift;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask TASK
  help           print this
  ci [STEP...]   all checks, or the named steps of them; stops at the first that fails
  kotlin         compile the Kotlin library, the sample app and what READMEs show, run the tests on the JVM
  swift          build the Swift package, run its tests, check its documentation and what READMEs show
  dependencies   fail when something is part of a package that must not be, such as C++ of the store
  miri           run the scalar kernels under Miri
  generate [--check]
                 write the Kotlin, Swift and Python sides of bindings/ffi, or fail if they are out of date
  python         type-check and test the Python package, and what READMEs show
  cross [PART]   build for arm64 Linux and test under emulation (arm64); type-check for phones (phones); or both without
                 the tests (build)
  android [ABI...] [--no-archive]
                 build the native library for Android with the NDK, and the archive with Gradle
  ios            build the static libraries for iOS and the XCFramework with Xcode
  fixture NAME   print the path of a model for tests that a package index has; fetch it first if need be
  size [--update]
                 build the small library, compare its size with bindings/size.json (or write that)";

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
        ["dependencies"] => dependencies::check(&root),
        ["generate", arguments @ ..] => generate::run(&root, arguments),
        ["kotlin"] => kotlin::run(&root),
        ["miri"] => miri::run(&root),
        ["python"] => python::run(&root),
        ["android", arguments @ ..] => android::run(&root, arguments),
        ["cross", arguments @ ..] => cross::run(&root, arguments),
        ["ios", arguments @ ..] => ios::run(&root, arguments),
        ["fixture", name] => packaged::fetch(name),
        ["size", arguments @ ..] => size::run(&root, arguments),
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
