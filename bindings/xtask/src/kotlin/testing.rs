//! What `nightgraft-testing` has besides Kotlin: the tiny model, and this machine's library where JNA looks for it.

use std::{
    env::consts::{ARCH, OS},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{fixtures, generate};

/// Where Gradle looks; git does not.
const RESOURCES: &str = "android/nightgraft-testing/src/main/resources";

/// Puts both where Gradle packs them.
///
/// # Errors
/// If one of them cannot be built or copied.
pub fn write_for_gradle(root: &Path) -> Result<()> {
    let model = fixtures::tiny(root)?;
    write(&root.join(RESOURCES), &model, &generate::library(root)?)
}

/// Copies both into a folder, which is made.
pub fn write(resources: &Path, model: &Path, library: &Path) -> Result<()> {
    let name = library.file_name().context("the library is a file")?;
    copy(model, &resources.join("org/nightgraft/testing/tiny.gguf"))?;
    copy(library, &resources.join(platform(OS, ARCH)).join(name))
}

/// JNA's name of a system and a processor: <https://github.com/java-native-access/jna/blob/5.19.1/www/GettingStarted.md>.
fn platform(system: &str, processor: &str) -> String {
    let system = if system == "macos" { "darwin" } else { system };
    format!("{system}-{}", processor.replace('_', "-"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("it lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_lie_where_they_are_looked_for() {
        assert_eq!(platform("linux", "x86_64"), "linux-x86-64");
        assert_eq!(platform("macos", "aarch64"), "darwin-aarch64");
        let folder = tempfile::tempdir().unwrap();
        let [model, library] = ["some.gguf", "libsome.so"].map(|name| folder.path().join(name));
        fs::write(&model, "a model").unwrap();
        fs::write(&library, "a library").unwrap();
        let resources = folder.path().join("resources");
        write(&resources, &model, &library).unwrap();
        let read = |name: &str| fs::read_to_string(resources.join(name)).unwrap();
        assert_eq!(read("org/nightgraft/testing/tiny.gguf"), "a model");
        assert_eq!(read(&format!("{}/libsome.so", platform(OS, ARCH))), "a library");
    }
}
