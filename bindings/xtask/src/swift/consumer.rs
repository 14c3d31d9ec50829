//! A package outside the checkout that takes the library as a release has it and has its first answer: `ios/Consumer`, with the
//! code of the README.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use super::{Checks, text};
use crate::{
    ios::release,
    program::shell,
    snippets::{self, SWIFT},
};

const PACKAGE: &str = "ios/Consumer";
const QUICK_START: &str = "Sources/FirstAnswer/QuickStart.swift";

impl Checks<'_> {
    /// Makes a release's package, and runs another package with it.
    ///
    /// # Errors
    /// If one of the two does not build, or the answer is not what it has learned.
    pub fn consumer(&self) -> Result<()> {
        let outside = tempfile::tempdir()?;
        let [library, package] = [release::PACKAGE, "first-answer"].map(|name| outside.path().join(name));
        let (sh, root) = (shell(outside.path())?, &self.paths.root);
        let archive = outside.path().join("archive.zip");
        fs::write(&archive, "an XCFramework can be made on a Mac only")?;
        release::write_package(&sh, root, &library, &release::url(), &release::checksum(&archive)?)?;
        self.manifest(outside.path(), &library, &archive)?;

        let source = root.join(PACKAGE);
        cmd!(sh, "cp -R {source} {package}").run()?;
        let code = snippets::declaring(root, &SWIFT, "ios/README.md", "personalizedAnswer")?;
        fs::write(package.join(QUICK_START), code)?;
        let words = ["swift", "run", "--package-path", text(&package)?, "FirstAnswer"];
        let status = self.outside(&words, outside.path()).status().context("cannot start swift run")?;
        ensure!(status.success(), "the package outside the checkout ended with {status}");
        Ok(())
    }

    /// The release's manifest names its archive where nothing else is at hand, with the checksum that Swift computes.
    fn manifest(&self, outside: &Path, library: &Path, archive: &Path) -> Result<()> {
        let read = |words: &[&str]| -> Result<String> {
            let output = self.outside(words, outside).env_remove("NIGHTGRAFT_LIBRARY").output();
            let output = output.with_context(|| format!("cannot start {words:?}"))?;
            ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let package = ["--package-path", text(library)?];
        let manifest = read(&[&["swift", "package"][..], &package, &["dump-package"]].concat())?;
        let sum =
            read(&[&["swift", "package"][..], &package, &["compute-checksum", text(archive)?]].concat())?;
        for value in [release::url().as_str(), sum.trim()] {
            ensure!(
                manifest.replace("\\/", "/").contains(value),
                "the release's manifest does not have {value}"
            );
        }
        Ok(())
    }

    /// A command that also sees a folder outside the checkout.
    fn outside(&self, words: &[&str], folder: &Path) -> Command {
        let (read, mut write) = self.paths.folders();
        write.push(folder.to_owned());
        let mut command = self.toolchain.command(words, &read, &write);
        command.current_dir(folder).envs(self.paths.variables());
        command
    }
}
