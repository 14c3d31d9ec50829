//! A package outside the checkout that takes the library as a release has it, has its first answer, and tests a night:
//! `ios/Consumer`, with the code of the README.

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
/// Functions that the README declares, and the files of the package that have them.
const SHOWN: [(&str, &str); 2] = [
    ("personalizedAnswer", "Sources/FirstAnswer/QuickStart.swift"),
    ("testNotesAreLearnedAtNight", "Tests/FirstAnswerTests/NightTests.swift"),
];

impl Checks<'_> {
    /// Makes a release's package, and runs another package with it.
    ///
    /// # Errors
    /// If one of the two does not build, the answer is not what it has learned, or its test fails.
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
        for (function, file) in SHOWN {
            let code = snippets::declaring(root, &SWIFT, "ios/README.md", function)?;
            sh.write_file(package.join(file), code)?;
        }
        let place = ["--package-path", text(&package)?];
        for words in [["run", "FirstAnswer"], ["test", "--disable-swift-testing"]] {
            let [task, argument] = words;
            let words = [&["swift", task][..], &place, &[argument]].concat();
            let status = self.outside(&words, outside.path()).status();
            let status = status.with_context(|| format!("cannot start swift {task}"))?;
            ensure!(status.success(), "swift {task} of the package outside the checkout ended with {status}");
        }
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
