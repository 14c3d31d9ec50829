//! The Android library and what apps test with, as a repository has them, made without Gradle: the classes that Maven compiled,
//! the manifest, the rules for R8, and this machine's native library where a phone's would be. Gradle makes and publishes those for
//! phones.

use std::{env, fs, path::Path};

use anyhow::{Context, Error, Result, bail};
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
    pub fn read(root: &Path, name: &'static str) -> Result<Self> {
        let properties = read(&root.join("android/gradle.properties"))?;
        let value = |name: &str| {
            let found = properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned).with_context(|| format!("android/gradle.properties has no {name}"))
        };
        Ok(Self { group: value("group")?, name, version: value("version")? })
    }

    /// Returns the coordinates in the form in which Maven and Gradle write them.
    pub fn text(&self) -> String {
        format!("{}:{}:{}", self.group, self.name, self.version)
    }
}

/// What is published: each is a folder of `android`, of the same name.
pub const LIBRARY: &str = "nightgraft";
pub const TESTING: &str = "nightgraft-testing";

/// Puts an archive, its sources and its description into a repository, which is made. `native` is the library in it, if it has one.
pub fn publish(
    sh: &Shell,
    root: &Path,
    build: &Path,
    name: &'static str,
    native: Option<&Path>,
    repository: &Path,
) -> Result<Coordinates> {
    let coordinates = Coordinates::read(root, name)?;
    let version = &coordinates.version;
    let place = repository.join(coordinates.group.replace('.', "/")).join(name).join(version);
    let contents = tempfile::tempdir()?;
    lay_out(sh, &root.join("android").join(name), &build.join(name), native, contents.path())?;
    fs::create_dir_all(&place)?;
    pack(sh, contents.path(), &place.join(format!("{name}-{version}.aar")))?;
    let sources = root.join("android").join(name).join("src/main/kotlin");
    pack(sh, &sources, &place.join(format!("{name}-{version}-sources.jar")))?;
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
fn lay_out(sh: &Shell, project: &Path, built: &Path, native: Option<&Path>, folder: &Path) -> Result<()> {
    let own = project.join("src/main/AndroidManifest.xml");
    let source = if own.is_file() { read(&own)? } else { EMPTY_MANIFEST.to_owned() };
    let gradle = read(&project.join("build.gradle.kts"))?;
    fs::write(folder.join("AndroidManifest.xml"), manifest(&source, &gradle)?)?;
    pack(sh, &built.join("classes"), &folder.join("classes.jar"))?;
    fs::write(folder.join("R.txt"), "")?;
    let rules = project.join("consumer-rules.pro");
    if rules.is_file() {
        copy(&rules, &folder.join("proguard.txt"))?;
    }
    if let Some(library) = native {
        let place = folder.join("jni").join(abi()?);
        fs::create_dir_all(&place)?;
        copy(library, &place.join(library.file_name().context("the library is a file")?))?;
    }
    Ok(())
}

/// That of a project which has none.
const EMPTY_MANIFEST: &str =
    "<manifest xmlns:android=\"http://schemas.android.com/apk/res/android\">\n</manifest>\n";

/// The manifest with what the Android plugin adds of the build file: the package and the oldest system.
fn manifest(source: &str, gradle: &str) -> Result<String> {
    let namespace =
        gradle.lines().find_map(|line| line.trim().strip_prefix("namespace = \"")?.strip_suffix('"'));
    let namespace = namespace.context("build.gradle.kts has no line `namespace = \"NAME\"`")?;
    let (before, rest) = source.split_once("<manifest ").context("AndroidManifest.xml has no manifest")?;
    let (attributes, elements) = rest.split_once('>').context("AndroidManifest.xml has no elements")?;
    let level = min_sdk(gradle)?;
    Ok(format!(
        "{before}<manifest package=\"{namespace}\" {attributes}>\n    <uses-sdk android:minSdkVersion=\"{level}\" />{elements}"
    ))
}

/// What Gradle writes of the dependencies in the project's `build.gradle.kts`.
fn description(coordinates: &Coordinates, versions: &str) -> Result<String> {
    let table: Table = versions.parse().context("libs.versions.toml is not TOML")?;
    let version = |name: &str| {
        let version = table.get("versions").and_then(|versions| versions.get(name)?.as_str());
        version.with_context(|| format!("libs.versions.toml has no version {name}"))
    };
    let kotlin = ("org.jetbrains.kotlin", "kotlin-stdlib", version("kotlin-oldest")?, "compile", "jar");
    let jna = |kind| Ok::<_, Error>(("net.java.dev.jna", "jna", version("jna")?, "runtime", kind));
    let Coordinates { group, name, version: own } = coordinates;
    let dependencies = if *name == TESTING {
        // The jar has what JNA needs on computers, the library's archive what it needs on phones.
        [kotlin, (group.as_str(), LIBRARY, own.as_str(), "compile", "aar"), jna("jar")?]
    } else {
        let coroutines = version("coroutines")?;
        [
            kotlin,
            ("org.jetbrains.kotlinx", "kotlinx-coroutines-core-jvm", coroutines, "compile", "jar"),
            jna("aar")?,
        ]
    };
    let dependencies = dependencies.map(|(group, name, version, scope, kind)| {
        format!(
            "    <dependency>\n      <groupId>{group}</groupId>\n      <artifactId>{name}</artifactId>\n      \
             <version>{version}</version>\n      <scope>{scope}</scope>\n      <type>{kind}</type>\n    </dependency>\n"
        )
    });
    Ok(format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>{group}</groupId>\n  <artifactId>{name}</artifactId>\n  <version>{own}</version>\n  \
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
        let coordinates = Coordinates::read(root(), LIBRARY).unwrap();
        assert_eq!(coordinates.version, env!("CARGO_PKG_VERSION"));
        let uses = |configuration: &str, name| {
            let text = Coordinates::read(root(), name).unwrap().text();
            format!("{configuration}(\"{text}\")")
        };
        let (library, testing) = (uses("implementation", LIBRARY), uses("testImplementation", TESTING));
        let work = uses("implementation", "nightgraft-work");
        let files = [
            ("android/README.md", &library),
            ("android/consumer/build.gradle.kts", &library),
            ("android/consumer/build.gradle.kts", &testing),
            ("android/nightgraft-testing/README.md", &testing),
            ("android/nightgraft-work/README.md", &work),
        ];
        for (file, uses) in files {
            assert!(read(&root().join(file)).unwrap().contains(uses), "{file} does not have {uses}");
        }
        let version = format!("<version>{}</version>", coordinates.version);
        for module in [
            "",
            "api/",
            "nightgraft/",
            "nightgraft-testing/",
            "nightgraft-work/",
            "nightgraft-work/stubs/",
            "sample/",
        ] {
            let file = format!("android/{module}pom.xml");
            assert!(read(&root().join(&file)).unwrap().contains(&version), "{file} has another version");
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
