//! The tiny models of `golden/architectures`, and what PyTorch and PEFT compute with them.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// A module of one test for each tiny model, which calls the function of that name.
macro_rules! for_each_architecture {
    ($check:ident) => {
        for_each_architecture!($check: llama llama_tied mistral mistral3 mistral3_untied qwen2 qwen2_tied qwen3 qwen3_untied
            gemma3 gemma3_scaled smollm3 smollm3_untied granite granite_untied phi3 phi3_short_factors phi3_long_factors);
    };
    ($check:ident: $($case:ident)+) => {
        mod $check {
            $(
                #[test]
                fn $case() {
                    super::$check(&crate::support::architectures::Case::import(stringify!($case), "f32"));
                }
            )+

            #[test]
            fn no_model_is_left_out() {
                let here = std::collections::BTreeSet::from([$(stringify!($case).to_owned()),+]);
                assert_eq!(here, crate::support::architectures::names());
            }
        }
    };
}
pub(crate) use for_each_architecture;

/// One of the models, as a GGUF file.
pub struct Case {
    golden: PathBuf,
    folder: tempfile::TempDir,
}

impl Case {
    /// Imports it with `nightgraft import`, its weights in that type.
    pub fn import(name: &str, quantize: &str) -> Self {
        let case = Self { golden: folder().join(name), folder: tempfile::tempdir().unwrap() };
        let mut command = Command::new(cargo_bin("nightgraft"));
        command.args(["--quiet", "import", "--quantize", quantize, "--from"]).arg(case.path("model"));
        let output = command.arg("--out").arg(case.model()).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        case
    }

    /// The GGUF file.
    pub fn model(&self) -> PathBuf {
        self.out("model.gguf")
    }

    /// A place beside it.
    pub fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file among the golden values.
    pub fn path(&self, name: &str) -> PathBuf {
        self.golden.join(name)
    }

    /// What PyTorch and PEFT compute.
    pub fn expected(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("expected.json")).unwrap()).unwrap()
    }
}

/// The folders that there are.
pub fn names() -> std::collections::BTreeSet<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().join("model").is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What `make.py` wrote, here or where NIGHTGRAFT_ARCHITECTURES says.
fn folder() -> PathBuf {
    // Cargo runs tests in the package's folder; a path from build time may be another clone's.
    let here = || PathBuf::from("tests/golden/architectures");
    std::env::var_os("NIGHTGRAFT_ARCHITECTURES").map_or_else(here, PathBuf::from)
}
