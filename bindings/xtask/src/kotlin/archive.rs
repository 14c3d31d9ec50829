//! The Android library as a repository has it, made without Gradle: the classes that Maven compiled, the manifest, the rules for
//! R8, and this machine's native library where a phone's would be. Gradle makes and publishes the one for phones.

use std::{env, fs, path::Path};

use anyhow::{Context, Result, bail};
use toml::Table;
use xshell::{Shell, cmd};

use crate::android::min_sdk;

/// Group, name and version of what is published.
#[derive(Debug, PartialEq)]
pub struct Coordinates {
    pub group: String,
    pub name: &'static str,
    pub version: String,
}

impl Coordinates {
    /// What Gradle reads: `group` and `version` of `gradle.properties`, and the project's name.
    pub fn read(root: &Path) -> Result<Self> {
        let properties = read(&root.join("android/gradle.properties"))?;
        let value = |name: &str| {
            let found = properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned).with_context(|| format!("android/gradle.properties has no {name}"))
        };
        Ok(Self { group: value("group")?, name: "nightgraft", version: value("version")? })
    }

    /// As Maven and Gradle write them.
    pub fn text(&self) -> String {
        format!("{}:{}:{}", self.group, self.name, self.version)
    }
}

/// Puts the archive, its sources and its description into a repository, which is made.
pub fn publish(
    sh: &Shell,
    root: &Path,
    build: &Path,
    library: &Path,
    repository: &Path,
) -> Result<Coordinates> {
    let coordinates = Coordinates::read(root)?;
    let (name, version) = (coordinates.name, &coordinates.version);
    let place = repository.join(coordinates.group.replace('.', "/")).join(name).join(version);
    let contents = tempfile::tempdir()?;
    lay_out(sh, root, build, library, contents.path())?;
    fs::create_dir_all(&place)?;
    pack(sh, contents.path(), &place.join(format!("{name}-{version}.aar")))?;
    pack(
        sh,
        &root.join("android/nightgraft/src/main/kotlin"),
        &place.join(format!("{name}-{version}-sources.jar")),
    )?;
    let versions = read(&root.join("android/gradle/libs.versions.toml"))?;
    fs::write(place.join(format!("{name}-{version}.pom")), description(&coordinates, &versions)?)?;
    Ok(coordinates)
}

/// Android's name of the interface that this machine's library stands in for.
pub fn abi() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("x86_64"),
        "aarch64" => Ok("arm64-v8a"),
        other => bail!("Android has no name for {other}"),
    }
}

/// The contents of an archive: <https://developer.android.com/studio/projects/android-library#aar-contents>.
fn lay_out(sh: &Shell, root: &Path, build: &Path, library: &Path, folder: &Path) -> Result<()> {
    let project = root.join("android/nightgraft");
    let (source, gradle) =
        (read(&project.join("src/main/AndroidManifest.xml"))?, read(&project.join("build.gradle.kts"))?);
    fs::write(folder.join("AndroidManifest.xml"), manifest(&source, &gradle)?)?;
    pack(sh, &build.join("nightgraft/classes"), &folder.join("classes.jar"))?;
    copy(&project.join("consumer-rules.pro"), &folder.join("proguard.txt"))?;
    fs::write(folder.join("R.txt"), "")?;
    let native = folder.join("jni").join(abi()?);
    fs::create_dir_all(&native)?;
    copy(library, &native.join(library.file_name().context("the library is a file")?))
}

/// The manifest with what the Android plugin adds of the build file: the package and the oldest system.
fn manifest(source: &str, gradle: &str) -> Result<String> {
    let namespace =
        gradle.lines().find_map(|line| line.trim().strip_prefix("namespace = \"")?.strip_suffix('"'));
    let namespace =
        namespace.context("android/nightgraft/build.gradle.kts has no line `namespace = \"NAME\"`")?;
    let (before, rest) = source.split_once("<manifest ").context("AndroidManifest.xml has no manifest")?;
    let (attributes, elements) = rest.split_once('>').context("AndroidManifest.xml has no elements")?;
    let level = min_sdk(gradle)?;
    Ok(format!(
        "{before}<manifest package=\"{namespace}\" {attributes}>\n    <uses-sdk android:minSdkVersion=\"{level}\" />{elements}"
    ))
}

/// What Gradle writes of the dependencies in `android/nightgraft/build.gradle.kts`.
fn description(coordinates: &Coordinates, versions: &str) -> Result<String> {
    let table: Table = versions.parse().context("libs.versions.toml is not TOML")?;
    let version = |name: &str| {
        let version = table.get("versions").and_then(|versions| versions.get(name)?.as_str());
        version.with_context(|| format!("libs.versions.toml has no version {name}"))
    };
    let dependencies = [
        ("org.jetbrains.kotlin", "kotlin-stdlib", version("kotlin-oldest")?, "compile", "jar"),
        ("org.jetbrains.kotlinx", "kotlinx-coroutines-core-jvm", version("coroutines")?, "compile", "jar"),
        ("net.java.dev.jna", "jna", version("jna")?, "runtime", "aar"),
    ];
    let dependencies = dependencies.map(|(group, name, version, scope, kind)| {
        format!(
            "    <dependency>\n      <groupId>{group}</groupId>\n      <artifactId>{name}</artifactId>\n      \
             <version>{version}</version>\n      <scope>{scope}</scope>\n      <type>{kind}</type>\n    </dependency>\n"
        )
    });
    let Coordinates { group, name, version } = coordinates;
    Ok(format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>{group}</groupId>\n  <artifactId>{name}</artifactId>\n  <version>{version}</version>\n  \
         <packaging>aar</packaging>\n  <dependencies>\n{}  </dependencies>\n</project>\n",
        dependencies.concat()
    ))
}

/// Packs what is in a folder, with the JDK's own program.
fn pack(sh: &Shell, folder: &Path, archive: &Path) -> Result<()> {
    Ok(cmd!(sh, "jar --create --no-manifest --file {archive} -C {folder} .").run()?)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
    }

    #[test]
    fn the_version_is_the_same_everywhere() {
        let coordinates = Coordinates::read(root()).unwrap();
        assert_eq!(coordinates.version, env!("CARGO_PKG_VERSION"));
        let text = coordinates.text();
        for file in ["android/README.md", "android/consumer/build.gradle.kts"] {
            let uses = format!("implementation(\"{text}\")");
            assert!(read(&root().join(file)).unwrap().contains(&uses), "{file} does not have {uses}");
        }
        let version = format!("<version>{}</version>", coordinates.version);
        for file in
            ["android/pom.xml", "android/api/pom.xml", "android/nightgraft/pom.xml", "android/sample/pom.xml"]
        {
            assert!(read(&root().join(file)).unwrap().contains(&version), "{file} has another version");
        }
    }

    #[test]
    fn the_manifest_has_what_the_plugin_adds() {
        let source =
            "<?xml version=\"1.0\"?>\n<manifest xmlns:android=\"x\">\n    <uses-permission />\n</manifest>\n";
        let gradle =
            "android {\n    namespace = \"org.nightgraft\"\n    defaultConfig {\n        minSdk = 26\n";
        assert_eq!(
            manifest(source, gradle).unwrap(),
            "<?xml version=\"1.0\"?>\n<manifest package=\"org.nightgraft\" xmlns:android=\"x\">\n    \
             <uses-sdk android:minSdkVersion=\"26\" />\n    <uses-permission />\n</manifest>\n"
        );
        assert!(manifest(source, "").is_err());
    }
}
