//! `cargo xtask cross`: the kernels, the ggml layer and the engine are built for arm64 Linux and tested under emulation; all
//! that apps contain is type-checked for Android and iOS.

use std::{
    env::consts::{ARCH, OS},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell, cmd};

use crate::{
    artifacts::{Artifacts, LlamaBuild, TestProgram},
    program::{cargo, has_target, rustc, shell, skip_unless_ci, target_folder, timed},
};

/// The emulated target, as cargo names it.
pub const ARM64: &str = "aarch64-unknown-linux-gnu";

/// What phones run. Android's 32-bit variant is not among them: llama.cpp's types have other sizes there than in the
/// bindings that are borrowed here.
const PHONES: &[&str] = &["aarch64-linux-android", "aarch64-apple-ios"];

/// What is part of an app. The command line is not: its terminal, its signals and its downloads (which need a C
/// compiler for the target) are a desktop's.
const IN_APPS: &[&str] = &["nightgraft-kernels", "nightgraft-ggml", "nightgraft-core", "nightgraft-ffi"];

/// Tests of one library on one emulated processor.
struct EmulatedTests {
    /// What `is_aarch64_feature_detected` sees: a53 is NEON alone, max has I8MM and all else.
    processor: &'static str,
    library: &'static str,
    /// Parts of test names; none means all.
    only: &'static [&'static str],
}

/// Tests that start their own program again, which the emulator does not emulate.
const NOT_EMULATED: &[&str] = &["faults::", "instructions_that_are_not_there"];

/// The operations, and some of what is made of them: graphs are the same on every processor, and their tests take many minutes here.
/// Text, files and stores know no processor.
const ENGINE: &[&str] = &[
    "lora::",
    "ops::",
    "training_lowers_the_loss",
    "mixed_precision_points_the_same_way",
    "packed_segments_are_as_if_they_were_alone",
    "a_backward_that_stops_early",
];

/// ggml's own code is compiled for what all arm64 processors have, and is the same on both of these.
const EMULATED_TESTS: &[EmulatedTests] = &[
    EmulatedTests { processor: "cortex-a53", library: "nightgraft_kernels", only: &[] },
    EmulatedTests { processor: "cortex-a53", library: "nightgraft_ggml", only: &[] },
    EmulatedTests { processor: "cortex-a53", library: "nightgraft_core", only: &["ops::", "lora::"] },
    EmulatedTests { processor: "max", library: "nightgraft_kernels", only: &[] },
    EmulatedTests { processor: "max", library: "nightgraft_core", only: ENGINE },
];

/// Runs both parts, or the named one.
pub fn run(root: &Path, part: Option<&str>) -> Result<()> {
    match part {
        None => {
            arm64(root)?;
            phones(root)
        }
        Some("arm64") => arm64(root),
        Some("build") => build(root),
        Some("phones") => phones(root),
        Some(part) => bail!("'{part}' is none of arm64 build phones"),
    }
}

/// Does all that needs a compiler alone: builds what [`arm64`] runs, and checks types for phones; where that cannot be, the
/// other parts say why later.
fn build(root: &Path) -> Result<()> {
    if ARCH != "aarch64" && build_or_reason(root, Purpose::Tests)?.is_err() {
        return Ok(());
    }
    phones(root)
}

/// What an arm64 build is for.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// To be run under emulation, where what others wrote has little to do: compiling it well would take longer.
    Tests,
    /// To be measured as it ships.
    Size,
}

/// The arm64 Linux build, or why this machine cannot make it.
pub fn build_or_reason(root: &Path, purpose: Purpose) -> Result<std::result::Result<Artifacts, String>> {
    match install_tools(root)? {
        Ok(()) => build_arm64(root, purpose).map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// Cargo with Debian's Rust, which has the arm64 standard library.
pub fn cargo_for_arm64<'a>(sh: &'a Shell, root: &Path, purpose: Purpose) -> Cmd<'a> {
    let cargo = cargo();
    // An own folder, so an own profile costs nothing; without debug information it is half as large.
    let command = cmd!(sh, "{cargo}")
        .env("RUSTC", DEBIAN_RUSTC)
        .env("CARGO_TARGET_DIR", arm64_folder(root, purpose))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    let tools = [("CC", "gcc"), ("CXX", "g++"), ("AR", "ar")];
    command.envs(tools.map(|(tool, program)| {
        (format!("{tool}_aarch64_unknown_linux_gnu"), format!("aarch64-linux-gnu-{program}"))
    }))
}

/// Where its builds go: another compiler's, so that the ordinary builds stay as they are.
pub fn arm64_folder(root: &Path, purpose: Purpose) -> PathBuf {
    target_folder(root).join(match purpose {
        Purpose::Tests => "cross",
        Purpose::Size => "cross-size",
    })
}

fn arm64(root: &Path) -> Result<()> {
    if ARCH == "aarch64" {
        println!("arm64: this machine is one; the ordinary tests run on its own processor");
        return Ok(());
    }
    let started = Instant::now();
    let built = match build_or_reason(root, Purpose::Tests)? {
        Ok(built) => built,
        Err(why) => return skip_unless_ci("the arm64 tests", &why),
    };
    println!("arm64 build: {:.1} s", started.elapsed().as_secs_f64());
    for tests in EMULATED_TESTS {
        tests.run(built.test(tests.library)?)?;
    }
    Ok(())
}

impl EmulatedTests {
    fn run(&self, test: &TestProgram) -> Result<()> {
        let (sh, file) = (shell(&test.folder)?, &test.file);
        // No `-L`: the emulated program must take the system's own arm64 libraries. The cross compiler's are
        // another build of the same ones, and a mixture hangs when it makes its first thread.
        let command = cmd!(sh, "qemu-aarch64 {file} --quiet")
            .args(self.only)
            .args(NOT_EMULATED.iter().flat_map(|name| ["--skip", name]))
            .env("CARGO_MANIFEST_DIR", &test.folder)
            .env("QEMU_CPU", self.processor)
            // What the tests beside these are to run on is no tier of this processor.
            .env_remove("NIGHTGRAFT_ISA");
        timed(&format!("{} on {}", self.library, self.processor), command)
    }
}

/// The libraries that are tested under emulation, and their tests.
fn build_arm64(root: &Path, purpose: Purpose) -> Result<Artifacts> {
    let sh = shell(root)?;
    let mut command =
        cargo_for_arm64(&sh, root, purpose).args(["test", "--no-run", "--lib", "--release"]).args(
            ["nightgraft-kernels", "nightgraft-ggml", "nightgraft-core"]
                .map(|name| format!("--package={name}")),
        );
    if let Purpose::Tests = purpose {
        command = command
            .env("CMAKE_C_FLAGS_RELEASE", "-O1 -DNDEBUG")
            .env("CMAKE_CXX_FLAGS_RELEASE", "-O0 -DNDEBUG")
            .args(["--config", "profile.release.package.\"*\".opt-level=1"])
            // There is no GPU to emulate.
            .arg("--no-default-features");
    }
    Artifacts::build(command.args(["--locked", "--target", ARM64]))
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Installs what is missing, or says why that cannot be.
pub fn install_tools(root: &Path) -> Result<std::result::Result<(), String>> {
    let script = root.join("bindings/xtask/arm64.sh");
    let output = Command::new(&script)
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", script.display()))?;
    match output.status.code() {
        Some(0) => Ok(Ok(())),
        Some(3) => Ok(Err(String::from_utf8_lossy(&output.stdout).trim().to_owned())),
        _ => bail!("{} ended with {}", script.display(), output.status),
    }
}

fn phones(root: &Path) -> Result<()> {
    let checker = match PhoneChecker::new(root)? {
        Ok(checker) => checker,
        Err(why) => return skip_unless_ci("the type-checks for phones", &why),
    };
    for triple in PHONES {
        let configuration = checker.folder.join(format!("{triple}.toml"));
        fs::create_dir_all(&checker.folder)?;
        fs::write(&configuration, checker.llama.build_script_override(triple, false)?)?;
        checker.check(triple, &configuration)?;
    }
    Ok(())
}

/// How types are checked for a target without its development kit.
struct PhoneChecker<'a> {
    root: &'a Path,
    folder: PathBuf,
    compiler: Compiler,
    /// Its bindings are those of arm64 Linux: the same sizes, and the same functions.
    llama: LlamaBuild,
}

enum Compiler {
    /// The one that runs this has the targets' standard libraries.
    Own,
    /// Debian's, which checks the standard library from its sources first.
    Debian,
}

impl<'a> PhoneChecker<'a> {
    fn new(root: &'a Path) -> Result<std::result::Result<Self, String>> {
        let has_own_targets = PHONES.iter().all(|triple| has_target(&rustc(), triple));
        let compiler = if has_own_targets { Compiler::Own } else { Compiler::Debian };
        let arm64_desktop = ARCH == "aarch64" && matches!(OS, "linux" | "macos");
        if !(has_own_targets && arm64_desktop)
            && let Err(why) = install_tools(root)?
        {
            return Ok(Err(format!(
                "{why}. Elsewhere: an arm64 machine and rustup target add {}",
                PHONES.join(" ")
            )));
        }
        let built = if arm64_desktop { build_here(root)? } else { build_arm64(root, Purpose::Tests)? };
        let llama = built.llama.context("nothing of the build is llama.cpp's")?;
        Ok(Ok(Self { root, folder: target_folder(root).join("phones"), compiler, llama }))
    }

    fn check(&self, triple: &str, configuration: &Path) -> Result<()> {
        let (sh, cargo) = (shell(self.root)?, cargo());
        let mut command = cmd!(sh, "{cargo} check --release --locked --lib --target {triple}")
            .arg("--config")
            .arg(configuration)
            .args(IN_APPS.iter().flat_map(|package| ["--package", package]))
            .env("CARGO_TARGET_DIR", &self.folder)
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        if matches!(self.compiler, Compiler::Debian) {
            command = command
                .arg("-Zbuild-std=std,panic_abort")
                // The standard library is compiled, not only checked.
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1");
        }
        timed(&format!("type-check for {triple}"), command)
    }
}

fn build_here(root: &Path) -> Result<Artifacts> {
    let (sh, cargo) = (shell(root)?, cargo());
    Artifacts::build(cmd!(sh, "{cargo} build --release --locked --package nightgraft-ggml"))
}
