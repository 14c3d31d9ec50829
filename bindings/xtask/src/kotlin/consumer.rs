//! An app outside the checkout that takes the library out of a repository, has its first answer and runs its own test:
//! `android/consumer`, with the code of the READMEs.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::archive::{self, Coordinates};
use crate::{
    fixtures::Fixtures,
    generate,
    program::shell,
    snippets::{self, KOTLIN},
};

const APP: &str = "android/consumer";
/// Functions that documents show, and the app's file for each.
const SHOWN: &[(&str, &str, &str)] = &[
    ("android/README.md", "firstPersonalizedAnswer", "src/main/kotlin/FirstAnswer.kt"),
    ("android/nightgraft-testing/README.md", "notesAreLearnedAtNight", "src/test/kotlin/AppsNightTest.kt"),
];

/// Publishes what Maven has compiled to a repository, and runs the app with it.
///
/// # Errors
/// If the app cannot be built, or its answer is not what it has learned.
pub fn run(root: &Path, build: &Path, fixtures: &Fixtures) -> Result<()> {
    let outside = tempfile::tempdir()?;
    let [repository, app] = ["repository", "app"].map(|name| outside.path().join(name));
    let sh = shell(outside.path())?;
    let library = generate::library(root)?;
    let published = [
        archive::publish(&sh, root, build, archive::LIBRARY, Some(&library), &repository)?,
        archive::publish(&sh, root, build, archive::TESTING, None, &repository)?,
    ];
    let app_root = root.join(APP);
    cmd!(sh, "cp -R {app_root} {app}").run()?;
    for (document, function, file) in SHOWN {
        let file = app.join(file);
        fs::create_dir_all(file.parent().context("it lies in a folder")?)?;
        fs::write(file, snippets::declaring(root, &KOTLIN, document, function)?)?;
    }
    let repository = format!("-Dnightgraft.repository=file://{}", repository.display());
    for coordinates in &published {
        unpack(&sh, &app, &repository, coordinates)?;
    }
    sh.change_dir(&app);
    let abi = archive::abi()?;
    cmd!(sh, "mvn -B -ntp {repository} test -Dnightgraft.abi={abi}").envs(fixtures.variables()).run()?;
    Ok(())
}

/// Does what Gradle does with an archive, and Maven does not.
fn unpack(sh: &Shell, app: &Path, repository: &str, coordinates: &Coordinates) -> Result<()> {
    let (name, folder) = (coordinates.name, app.join("archive").join(coordinates.name));
    sh.change_dir(app);
    // Maven keeps what it has once found under a version that does not change, and this one has changed.
    let purge = [
        "dependency:purge-local-repository".to_owned(),
        format!("-DmanualInclude={}:{name}", coordinates.group),
        "-DreResolve=false".to_owned(),
    ];
    let copy = [
        "dependency:copy".to_owned(),
        format!("-Dartifact={}:aar", coordinates.text()),
        "-Dmdep.stripVersion=true".to_owned(),
        format!("-DoutputDirectory={}", folder.display()),
    ];
    cmd!(sh, "mvn -B -ntp {repository} {purge...} {copy...}").run()?;
    sh.change_dir(&folder);
    cmd!(sh, "jar --extract --file {name}.aar").run()?;
    Ok(())
}
