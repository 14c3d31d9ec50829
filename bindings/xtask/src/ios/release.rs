//! The Swift package of a release: the folder `ios` as a repository of its own, for Swift takes packages from a repository's root
//! only. Its `Package.swift` names the archive with the XCFramework, which is attached to the release.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

/// The folder of the package. Swift calls a package by the name of its folder or repository.
pub const PACKAGE: &str = "nightgraft-swift";

const ARCHIVE: &str = "Nightgraft.xcframework.zip";

/// The line of `ios/Package.swift` that a release replaces.
const NO_RELEASE: &str = "let release: (url: String, checksum: String)? = nil";

/// What of `ios` is part of the package.
const CONTENTS: &[&str] = &["Package.swift", "README.md", "Sources", "Tests", "Sample"];

/// Writes the archive and the package into a folder, and says what to do with them.
pub fn make(sh: &Shell, root: &Path, framework: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let archive = folder.join(ARCHIVE);
    // Swift wants the XCFramework at the archive's top, with its links as they are.
    cmd!(sh, "ditto -c -k --keepParent {framework} {archive}").run()?;
    let package = folder.join(PACKAGE);
    write_package(sh, root, &package, &url(), &checksum(&archive)?)?;
    println!("attach {} to the release as {}", archive.display(), url());
    println!(
        "commit {} to the package's repository, tagged {}",
        package.display(),
        env!("CARGO_PKG_VERSION")
    );
    Ok(())
}

/// Where the archive of this version is expected.
pub fn url() -> String {
    let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
    format!("{repository}/releases/download/v{version}/{ARCHIVE}")
}

/// Writes the package in the place of one that is there.
pub fn write_package(sh: &Shell, root: &Path, package: &Path, url: &str, checksum: &str) -> Result<()> {
    if package.exists() {
        fs::remove_dir_all(package)?;
    }
    fs::create_dir_all(package)?;
    let contents = CONTENTS.iter().map(|name| root.join("ios").join(name));
    let licences = ["LICENSE-MIT", "LICENSE-APACHE"].map(|name| root.join(name));
    let files: Vec<_> = contents.chain(licences).collect();
    cmd!(sh, "cp -R {files...} {package}").run()?;
    let manifest = package.join("Package.swift");
    fs::write(&manifest, with_release(&fs::read_to_string(&manifest)?, url, checksum)?)?;
    Ok(())
}

fn with_release(manifest: &str, url: &str, checksum: &str) -> Result<String> {
    let (before, after) = manifest
        .split_once(NO_RELEASE)
        .with_context(|| format!("ios/Package.swift has no line `{NO_RELEASE}`"))?;
    let release = NO_RELEASE.trim_end_matches("nil");
    Ok(format!("{before}{release}(\n    url: \"{url}\",\n    checksum: \"{checksum}\"\n){after}"))
}

/// What `swift package compute-checksum` prints.
pub fn checksum(archive: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(archive).with_context(|| format!("no {}", archive.display()))?;
    io::copy(&mut file, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::program::shell;

    #[test]
    fn a_release_names_its_archive_in_the_package_that_is_here() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join(PACKAGE);
        fs::create_dir(&package).unwrap();
        fs::write(package.join("old"), "").unwrap();
        write_package(&shell(folder.path()).unwrap(), root, &package, "https://example.com/a.zip", "0f")
            .unwrap();
        let manifest = fs::read_to_string(package.join("Package.swift")).unwrap();
        assert!(
            manifest.contains(
                "checksum: String)? = (\n    url: \"https://example.com/a.zip\",\n    checksum: \"0f\"\n)\n"
            ),
            "{manifest}"
        );
        for file in ["Sources/Nightgraft/PrivacyInfo.xcprivacy", "Sources/NightgraftTesting/tiny.gguf"] {
            assert!(package.join(file).is_file(), "{file}");
        }
        assert!(package.join("LICENSE-MIT").is_file() && !package.join("old").exists());
        assert!(url().ends_with("/releases/download/v0.1.0/Nightgraft.xcframework.zip"), "{}", url());
    }

    #[test]
    fn the_checksum_is_sha_256() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            checksum(&file).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
