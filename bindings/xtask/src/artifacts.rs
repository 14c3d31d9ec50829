//! What cargo says that it built, read from its own messages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::Cmd;

/// One build's results.
#[derive(Debug, Default, PartialEq)]
pub struct Artifacts {
    /// Programs made of tests.
    pub tests: Vec<TestProgram>,
    /// Files of libraries and programs.
    pub files: Vec<PathBuf>,
    /// What the build script of llama.cpp left behind.
    pub llama: Option<LlamaBuild>,
}

/// A compiled set of tests.
#[derive(Debug, PartialEq)]
pub struct TestProgram {
    /// The library or binary that it tests, such as `nightgraft_core`.
    pub name: String,
    /// Its package's folder, where cargo would start it.
    pub folder: PathBuf,
    /// The program.
    pub file: PathBuf,
}

/// llama.cpp's libraries and bindings, as one build made them.
#[derive(Debug, PartialEq)]
pub struct LlamaBuild {
    /// The folder with `bindings.rs`.
    pub folder: PathBuf,
    /// `static=llama` and the like, in their order.
    pub libraries: Vec<String>,
    /// `native=/folder` and the like.
    pub search_paths: Vec<String>,
}

impl Artifacts {
    /// Runs cargo with these arguments; its messages for people go to the terminal.
    pub fn build(command: Cmd<'_>) -> Result<Self> {
        Self::read(&command.arg("--message-format=json-render-diagnostics").read()?)
    }

    /// The tests of a library or binary.
    pub fn test(&self, name: &str) -> Result<&TestProgram> {
        self.tests
            .iter()
            .find(|test| test.name == name)
            .with_context(|| format!("no tests of {name} were built"))
    }

    fn read(messages: &str) -> Result<Self> {
        let mut artifacts = Self::default();
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Value = serde_json::from_str(line).context("a message of cargo's is not JSON")?;
            match message["reason"].as_str() {
                Some("compiler-artifact") => artifacts.add(&message)?,
                Some("build-script-executed") if is_llama(&message) => {
                    artifacts.llama = Some(LlamaBuild {
                        folder: text(&message["out_dir"])?.into(),
                        libraries: texts(&message["linked_libs"])?,
                        search_paths: texts(&message["linked_paths"])?,
                    });
                }
                _ => {}
            }
        }
        Ok(artifacts)
    }

    fn add(&mut self, message: &Value) -> Result<()> {
        if message["profile"]["test"] == true {
            let manifest = Path::new(text(&message["manifest_path"])?);
            self.tests.push(TestProgram {
                name: text(&message["target"]["name"])?.to_owned(),
                folder: manifest.parent().unwrap_or(manifest).to_owned(),
                file: text(&message["executable"])?.into(),
            });
        } else {
            self.files.extend(texts(&message["filenames"])?.into_iter().map(PathBuf::from));
        }
        Ok(())
    }
}

impl LlamaBuild {
    /// A cargo configuration that takes these libraries and bindings instead of running llama.cpp's build script
    /// for `triple`. With `link` off only the bindings are taken, which is enough to check types.
    pub fn build_script_override(&self, triple: &str, link: bool) -> Result<String> {
        let mut table = toml::Table::new();
        if link {
            table.insert("rustc-link-lib".into(), self.libraries.clone().into());
            table.insert("rustc-link-search".into(), self.search_paths.clone().into());
        }
        let folder = self.folder.to_str().context("the build folder's name is not UTF-8")?;
        table.insert(
            "rustc-env".into(),
            toml::Table::from_iter([("OUT_DIR".to_owned(), folder.into())]).into(),
        );
        // The key is what the sys crate says in `links`.
        let tables = ["llama", triple, "target"].into_iter().fold(table, |inner, name| {
            toml::Table::from_iter([(name.to_owned(), toml::Value::Table(inner))])
        });
        Ok(toml::to_string(&tables)?)
    }
}

fn is_llama(message: &Value) -> bool {
    message["package_id"].as_str().is_some_and(|id| id.contains("llama-cpp-sys-2"))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a message of cargo's lacks a text")
}

fn texts(value: &Value) -> Result<Vec<String>> {
    let values = value.as_array().context("a message of cargo's lacks a list")?;
    values.iter().map(|value| text(value).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"
{"reason":"compiler-artifact","manifest_path":"/w/core/Cargo.toml","target":{"kind":["lib"],"name":"nightgraft_core"},"profile":{"test":true},"filenames":["/t/deps/nightgraft_core-1"],"executable":"/t/deps/nightgraft_core-1"}
{"reason":"compiler-artifact","manifest_path":"/w/core/Cargo.toml","target":{"kind":["lib"],"name":"nightgraft_core"},"profile":{"test":false},"filenames":["/t/libnightgraft_core.rlib"],"executable":null}
{"reason":"build-script-executed","package_id":"registry+https://x#llama-cpp-sys-2@0.1.161","linked_libs":["static=llama","stdc++"],"linked_paths":["native=/t/out/lib"],"env":[],"out_dir":"/t/out"}
{"reason":"build-script-executed","package_id":"registry+https://x#ring@0.17.14","linked_libs":[],"linked_paths":[],"env":[],"out_dir":"/t/ring"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn reads_tests_libraries_and_the_build_of_llama() {
        let artifacts = Artifacts::read(MESSAGES).expect("they are well formed");
        let test = artifacts.test("nightgraft_core").expect("it is there");
        assert_eq!(
            (test.folder.as_path(), test.file.as_path()),
            (Path::new("/w/core"), Path::new("/t/deps/nightgraft_core-1"))
        );
        assert_eq!(artifacts.files, [PathBuf::from("/t/libnightgraft_core.rlib")]);
        assert!(artifacts.test("nightgraft_ggml").is_err());
        assert_eq!(artifacts.llama.expect("it is there").libraries, ["static=llama", "stdc++"]);
    }

    #[test]
    fn a_message_without_its_fields_is_an_error() {
        assert!(Artifacts::read(r#"{"reason":"compiler-artifact","profile":{"test":false}}"#).is_err());
        assert!(Artifacts::read("{").is_err());
    }

    #[test]
    fn the_configuration_names_the_target_and_keeps_the_order_of_libraries() {
        let llama = Artifacts::read(MESSAGES).expect("they are well formed").llama.expect("it is there");
        let linked = llama.build_script_override("aarch64-linux-android", true).expect("a configuration");
        let table: toml::Table = linked.parse().expect("TOML");
        let entry = &table["target"]["aarch64-linux-android"]["llama"];
        assert_eq!(entry["rustc-env"]["OUT_DIR"].as_str(), Some("/t/out"));
        assert_eq!(entry["rustc-link-lib"][0].as_str(), Some("static=llama"));
        let checked = llama.build_script_override("aarch64-apple-ios", false).expect("a configuration");
        assert!(!checked.contains("rustc-link"), "{checked}");
    }
}
