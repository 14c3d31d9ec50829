//! An app outside the checkout that takes the library out of a repository and has its first answer: `android/consumer`, with the
//! code of the README.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use xshell::cmd;

use super::archive;
use crate::{
    fixtures::Fixtures,
    generate,
    program::shell,
    snippets::{self, KOTLIN},
};

const APP: &str = "android/consumer";
const QUICK_START: &str = "src/main/kotlin/FirstAnswer.kt";

/// Publishes what Maven has compiled to a repository, and runs the app with it.
///
/// # Errors
/// If the app cannot be built, or its answer is not what it has learned.
pub fn run(root: &Path, build: &Path, fixtures: &Fixtures) -> Result<()> {
    let outside = tempfile::tempdir()?;
    let [repository, app] = ["repository", "app"].map(|name| outside.path().join(name));
    let sh = shell(outside.path())?;
    let library = generate::library(root)?;
    let published = archive::publish(&sh, root, build, &library, &repository)?;
    let app_root = root.join(APP);
    cmd!(sh, "cp -R {app_root} {app}").run()?;
    let code = snippets::declaring(root, &KOTLIN, "android/README.md", "firstPersonalizedAnswer")?;
    let file = app.join(QUICK_START);
    fs::create_dir_all(file.parent().context("it lies in a folder")?)?;
    fs::write(file, code)?;
    sh.change_dir(&app);

    // Maven keeps what it has once found under a version that does not change, and this one has changed.
    let purge = [
        "dependency:purge-local-repository".to_owned(),
        format!("-DmanualInclude={}:{}", published.group, published.name),
        "-DreResolve=false".to_owned(),
    ];
    let archive = [
        "dependency:copy".to_owned(),
        format!("-Dartifact={}:aar", published.text()),
        "-Dmdep.stripVersion=true".to_owned(),
        "-DoutputDirectory=archive".to_owned(),
    ];
    let repository = format!("-Dnightgraft.repository=file://{}", repository.display());
    cmd!(sh, "mvn -B -ntp {repository} {purge...} {archive...}").run()?;
    // What Gradle does with an archive, and Maven does not.
    sh.change_dir(app.join("archive"));
    cmd!(sh, "jar --extract --file nightgraft.aar").run()?;
    sh.change_dir(&app);
    let abi = archive::abi()?;
    cmd!(sh, "mvn -B -ntp {repository} test -Dnightgraft.abi={abi}").envs(fixtures.variables()).run()?;
    Ok(())
}
