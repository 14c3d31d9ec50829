//! Other programs: whether they are there, and what they answer.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell, cmd};

/// Runs commands in a folder. Each is shown before it runs.
pub fn shell(folder: &Path) -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(folder);
    Ok(shell)
}

/// Runs a command, and says how long it took.
pub fn timed(what: &str, command: Cmd<'_>) -> Result<()> {
    let started = Instant::now();
    command.run().with_context(|| what.to_owned())?;
    println!("{what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Where a program of this name lies on the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(name, &env::var_os("PATH")?)
}

/// The cargo that runs this.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// `cargo build` of what further arguments name, with the features that the whole workspace asks of its dependencies. A package
/// that is selected alone asks for fewer, and then most of them are compiled once more; only what ships is built so.
pub fn build_in_workspace(sh: &Shell) -> Cmd<'_> {
    let cargo = cargo();
    cmd!(sh, "{cargo} build --release --locked --workspace")
}

/// The standard library of `rustc` for a target, if it is installed.
pub fn has_target(rustc: &OsStr, triple: &str) -> bool {
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output();
    sysroot.is_ok_and(|output| {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        has_rlib(&sysroot.join("lib/rustlib").join(triple).join("lib"))
    })
}

/// What ordinary builds use: `$RUSTC`, or the one on the search path.
pub fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Where builds go.
pub fn target_folder(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// Something cannot be done on this machine: an error in CI, a loud line elsewhere.
pub fn skip_unless_ci(what: &str, why: &str) -> Result<()> {
    if env::var_os("CI").is_some_and(|value| value == "true") {
        bail!("{what} cannot run here: {why}");
    }
    println!("SKIPPED {what}: {why}");
    Ok(())
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn has_rlib(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|files| {
        files.flatten().any(|file| {
            let name = file.file_name();
            name.to_string_lossy().starts_with("libstd-") && name.to_string_lossy().ends_with(".rlib")
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn finds_programs_in_the_order_of_the_search_path() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        fs::create_dir_all(first.join("tool")).expect("a folder is no program");
        fs::create_dir_all(&second).expect("a folder");
        fs::write(second.join("tool"), "").expect("a file");
        let path = env::join_paths([&first, &second]).expect("no colon in it");
        assert_eq!(find_in("tool", &path), Some(second.join("tool")));
        assert_eq!(find_in("other", &path), None);
    }

    #[test]
    fn a_target_is_there_when_its_standard_library_is() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        assert!(!has_rlib(&folder.path().join("absent")));
        fs::write(folder.path().join("libcore-1.rlib"), "").expect("a file");
        assert!(!has_rlib(folder.path()));
        fs::write(folder.path().join("libstd-1.rlib"), "").expect("a file");
        assert!(has_rlib(folder.path()));
    }
}

/// What a library for apps computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// The processor and GPUs.
    All,
    /// The processor alone.
    Cpu,
}

impl Devices {
    pub fn new(cpu_only: bool) -> Self {
        if cpu_only { Self::Cpu } else { Self::All }
    }

    /// What cargo is told of it.
    pub fn cargo_arguments(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Cpu => &["--no-default-features"],
        }
    }
}
