//! Google's kit for native code on Android: where it is, and the programs in it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// An installed kit.
#[derive(Debug)]
pub struct Ndk {
    folder: PathBuf,
    programs: PathBuf,
    revision: String,
}

/// The first whose C++ library and whose linker are known to go with pages of 16 KiB.
const OLDEST: u32 = 26;

/// Variables that name a kit, in the order in which they are believed.
const NDK_VARIABLES: &[&str] = &["ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "ANDROID_NDK", "NDK_HOME"];

/// Variables that name an SDK, which keeps its kits in `ndk/REVISION`.
const SDK_VARIABLES: &[&str] = &["ANDROID_HOME", "ANDROID_SDK_ROOT"];

const HOW: &str = "get one with sdkmanager 'ndk;27.2.12479018' or from https://developer.android.com/ndk/downloads \
                   and set ANDROID_NDK_HOME to its folder";

impl Ndk {
    /// Looks where `variable` (the environment) points: at a kit, or at an SDK with kits in it.
    pub fn find(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |names: &[&'static str]| {
            let named = names.iter().find_map(|name| Some((*name, PathBuf::from(variable(name)?))));
            named.filter(|(_, folder)| !folder.as_os_str().is_empty())
        };
        if let Some((name, folder)) = set(NDK_VARIABLES) {
            return Self::open(&folder).with_context(|| format!("{name} names no usable kit; {HOW}"));
        }
        let default = || {
            let home = PathBuf::from(variable("HOME")?);
            let folder =
                home.join(if cfg!(target_os = "macos") { "Library/Android/sdk" } else { "Android/Sdk" });
            folder.is_dir().then_some(("the usual folder", folder))
        };
        let Some((name, sdk)) = set(SDK_VARIABLES).or_else(default) else {
            bail!("none of {} {} is set; {HOW}", NDK_VARIABLES.join(" "), SDK_VARIABLES.join(" "));
        };
        let newest = newest(&sdk.join("ndk"));
        let folder =
            newest.with_context(|| format!("{name} ({}) has no kit in ndk/; {HOW}", sdk.display()))?;
        Self::open(&folder).context(HOW)
    }

    fn open(folder: &Path) -> Result<Self> {
        let properties = fs::read_to_string(folder.join("source.properties"))
            .with_context(|| format!("{} has no source.properties", folder.display()))?;
        let revision = properties
            .lines()
            .find_map(|line| line.strip_prefix("Pkg.Revision")?.trim_start().strip_prefix('='))
            .map(|revision| revision.trim().to_owned())
            .with_context(|| format!("{} does not tell its revision", folder.display()))?;
        if numbers(&revision).first().is_none_or(|major| *major < OLDEST) {
            bail!("{} is revision {revision}; {OLDEST} or newer is needed", folder.display());
        }
        let programs = folder.join("toolchains/llvm/prebuilt").join(HOST).join("bin");
        for needed in [folder.join("build/cmake/android.toolchain.cmake"), programs.join("llvm-ar")] {
            if !needed.is_file() {
                bail!(
                    "{} is incomplete or made for another system: no {}",
                    folder.display(),
                    needed.display()
                );
            }
        }
        Ok(Self { folder: folder.to_owned(), programs, revision })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Such as `27.2.12479018`.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// A program that is the same for all targets.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// `clang` or `clang++` for a target and the oldest system that it is built for.
    pub fn compiler(&self, target: &str, level: u32, name: &str) -> PathBuf {
        self.programs.join(format!("{target}{level}-{name}"))
    }
}

/// The kit's name of the machine that builds; Google makes none for arm64 Linux, and the Mac's runs on both kinds.
const HOST: &str = if cfg!(target_os = "macos") { "darwin-x86_64" } else { "linux-x86_64" };

/// By number: as text, 9 would be newer than 27.
fn newest(folder: &Path) -> Option<PathBuf> {
    let kits = folder.read_dir().ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    kits.max_by_key(|path| numbers(&path.file_name().unwrap_or_default().to_string_lossy()))
}

fn numbers(revision: &str) -> Vec<u32> {
    revision.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

/// A folder that looks like a kit.
#[cfg(test)]
pub fn fake_ndk(folder: &Path, revision: &str) -> Ndk {
    let programs = folder.join("toolchains/llvm/prebuilt").join(HOST).join("bin");
    fs::create_dir_all(&programs).expect("a folder");
    fs::create_dir_all(folder.join("build/cmake")).expect("a folder");
    fs::write(programs.join("llvm-ar"), "").expect("a file");
    fs::write(folder.join("build/cmake/android.toolchain.cmake"), "").expect("a file");
    fs::write(
        folder.join("source.properties"),
        format!("Pkg.Desc = Android NDK\nPkg.Revision = {revision}\n"),
    )
    .expect("a file");
    Ndk { folder: folder.to_owned(), programs, revision: revision.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks with one variable set.
    fn find(name: &str, folder: &Path) -> Result<Ndk> {
        Ndk::find(&|asked| (asked == name).then(|| folder.as_os_str().to_owned()))
    }

    #[test]
    fn every_variable_leads_to_the_kit() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let kit = scratch.path().join("kit");
        fake_ndk(&kit, "27.2.12479018");
        for name in NDK_VARIABLES {
            let found = find(name, &kit).expect("it is there");
            assert_eq!((found.folder(), found.revision()), (kit.as_path(), "27.2.12479018"));
        }
    }

    #[test]
    fn the_newest_kit_of_an_sdk_is_taken_by_number() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        for revision in ["9.0.1", "26.3.11579264", "27.0.12077973"] {
            fake_ndk(&scratch.path().join("ndk").join(revision), revision);
        }
        for name in SDK_VARIABLES {
            assert_eq!(find(name, scratch.path()).expect("three are there").revision(), "27.0.12077973");
        }
    }

    #[test]
    fn old_broken_and_absent_kits_are_refused_with_the_reason() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let (old, broken) = (scratch.path().join("old"), scratch.path().join("broken"));
        fake_ndk(&old, "21.4.7075529");
        fake_ndk(&broken, "27.2.12479018");
        fs::remove_file(broken.join("build/cmake/android.toolchain.cmake")).expect("it was there");
        let reason = |name, folder: &Path| format!("{:#}", find(name, folder).expect_err("it is not usable"));
        assert!(
            reason("ANDROID_NDK_HOME", &old).contains("26 or newer"),
            "{}",
            reason("ANDROID_NDK_HOME", &old)
        );
        assert!(reason("ANDROID_NDK_ROOT", &broken).contains("android.toolchain.cmake"));
        assert!(reason("ANDROID_NDK_HOME", scratch.path()).contains("source.properties"));
        assert!(reason("ANDROID_HOME", scratch.path()).contains("no kit in ndk/"));
        assert!(reason("UNRELATED", scratch.path()).contains("sdkmanager"));
    }
}
