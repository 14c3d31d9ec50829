//! Where Swift comes from: this machine, or a chroot.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// The language's oldest version that the package is written for.
const OLDEST: u32 = 6;
/// Makes the chroot, and runs commands in it.
const SCRIPT: &str = "bindings/xtask/swift_chroot.sh";

pub struct Toolchain {
    location: Location,
    version: String,
    /// The documentation compiler, where there is one.
    pub docc: Option<PathBuf>,
}

enum Location {
    Host,
    Chroot { script: PathBuf, folder: PathBuf },
}

impl Toolchain {
    /// The machine's own Swift if it is new enough, else that of the chroot in `cache`, which is made if it is missing.
    ///
    /// # Errors
    /// What is missing.
    pub fn find(root: &Path, cache: &Path) -> Result<Self> {
        if !cfg!(target_os = "linux") {
            bail!("the package's tests run on Linux; elsewhere it is built by Xcode, after cargo xtask ios");
        }
        if let Some(version) = version(&mut Command::new("swift")) {
            let docc = on_path("docc").or_else(|| on_path("swift").and_then(|swift| docc_beside(&swift)));
            return Ok(Self { location: Location::Host, version, docc });
        }
        let script = root.join(SCRIPT);
        let folder = cache.join("swift-trixie");
        let status = Command::new(&script).arg(&folder).arg("make").status();
        let status = status.with_context(|| format!("cannot start {}", script.display()))?;
        ensure!(status.success(), "there is no Swift {OLDEST} here, and no chroot could be made for it");
        let mut chroot =
            Self { location: Location::Chroot { script, folder }, version: String::new(), docc: None };
        // It starts in `/`, the one working folder that this machine and the chroot always share.
        let found = version(chroot.command(&["swift"], &[], &[]).env("LC_ALL", "C").current_dir("/"));
        chroot.version = found.context("the chroot's Swift does not start, or is too old")?;
        // Debian does not link it into /usr/bin.
        chroot.docc = Some(PathBuf::from("/usr/libexec/swift/bin/docc"));
        Ok(chroot)
    }

    /// A command of the toolchain. It sees the folders of `read` and `write` under their own paths.
    pub fn command(&self, words: &[&str], read: &[PathBuf], write: &[PathBuf]) -> Command {
        match &self.location {
            Location::Host => {
                let mut command = Command::new(words.first().copied().unwrap_or_default());
                command.args(words.iter().skip(1));
                command
            }
            Location::Chroot { script, folder } => {
                let mut command = Command::new(script);
                command.arg(folder).arg("run").args(words);
                command.env("NIGHTGRAFT_READ", join(read)).env("NIGHTGRAFT_WRITE", join(write));
                command
            }
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Host => write!(f, "{}", self.version),
            Location::Chroot { folder, .. } => write!(f, "{} in {}", self.version, folder.display()),
        }
    }
}

/// The line that names the version; none if there is no Swift, or an old one.
fn version(swift: &mut Command) -> Option<String> {
    let output = swift.arg("--version").output().ok().filter(|output| output.status.success())?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = output.lines().find(|line| line.contains("Swift version"))?;
    let major = line.split("Swift version ").nth(1)?.split('.').next()?;
    (major.parse::<u32>().ok()? >= OLDEST).then(|| line.to_owned())
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn docc_beside(swift: &Path) -> Option<PathBuf> {
    Some(swift.canonicalize().ok()?.with_file_name("docc")).filter(|file| file.is_file())
}

fn join(folders: &[PathBuf]) -> String {
    let mut folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    folders.sort();
    folders.dedup();
    folders.join(":")
}
