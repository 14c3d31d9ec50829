//! A folder as `save_pretrained` leaves it, without its weights.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nightgraft_gguf::{Metadata, Value};
use serde_json::{Map, Value as Json};

use crate::config::{self, Config};
use crate::error::Expected;
use crate::json::{Keys, MAX_CONFIG, read};
use crate::plan::Plan;
use crate::weights::Weights;
use crate::{ConfigProblem, Error, Result, architecture, vocabulary};

/// Names the files that the weights are in, if there are several.
const INDEX: &str = "model.safetensors.index.json";
/// The one file that they are in, if not.
const SINGLE: &str = "model.safetensors";

/// The files that [`Source::read`] reads, where they are there.
pub const DESCRIPTION_FILES: [&str; 8] = [
    config::FILE,
    vocabulary::FILE,
    vocabulary::TOKENIZER,
    vocabulary::SPECIAL_NAMES,
    vocabulary::GENERATION,
    vocabulary::TEMPLATE_FILES[0],
    vocabulary::TEMPLATE_FILES[1],
    INDEX,
];

/// What a folder says of its model: everything but the weights, checked.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    files: Vec<String>,
    is_part: bool,
    pub(crate) plan: Plan,
    /// The keys that do not depend on the types of the tensors.
    pub(crate) metadata: Metadata,
}

impl Source {
    /// Reads the configuration and the tokenizer. `name` is what the model is called; else its folder says so.
    ///
    /// # Errors
    /// [`Error::Missing`](crate::Error::Missing), [`Error::Json`](crate::Error::Json), [`Error::Config`](crate::Error::Config),
    /// [`Error::Tokenizer`](crate::Error::Tokenizer), [`Error::Io`](crate::Error::Io).
    pub fn read(folder: &Path, name: Option<&str>) -> Result<Self> {
        let config = Config::read(folder)?;
        let plan = architecture::describe(&config)?;
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", Value::String(plan.architecture.to_owned()));
        metadata.insert("general.type", Value::String("model".to_owned()));
        let name = name.map(str::to_owned).or_else(|| name_of(folder));
        if let Some(name) = name {
            metadata.insert("general.name", Value::String(name));
        }
        vocabulary::describe_sampling(folder, &mut metadata)?;
        for (key, value) in plan.metadata.iter() {
            metadata.insert(key, value.clone());
        }
        vocabulary::describe(folder, &config, plan.n_vocab, &mut metadata)?;
        Ok(Self {
            folder: folder.to_owned(),
            files: weight_files(folder)?,
            is_part: config.is_part,
            plan,
            metadata,
        })
    }

    /// As in `general.architecture`.
    pub fn architecture(&self) -> &'static str {
        self.plan.architecture
    }

    /// The names of the files that the weights are in, whether they are there or not.
    pub fn weight_files(&self) -> &[String] {
        &self.files
    }

    /// The name of the file of this model that `path` leads to, be it there or not.
    pub(crate) fn file_at(&self, path: &Path) -> Option<String> {
        let place = place_of(path)?;
        let weights = self.files.iter().map(String::as_str);
        let mut names = DESCRIPTION_FILES.into_iter().chain([SINGLE]).chain(weights);
        names.find(|name| place_of(&self.folder.join(name)).as_ref() == Some(&place)).map(str::to_owned)
    }

    /// The weights, all of them there.
    pub(crate) fn weights(&self) -> Result<Weights> {
        let weights = Weights::open(&self.folder, &self.files, self.is_part)?;
        weights.check(&self.plan)?;
        Ok(weights)
    }
}

/// The usual file, if it is there, as `transformers` has it; else those that the index names, none of them in another folder.
fn weight_files(folder: &Path) -> Result<Vec<String>> {
    if folder.join(SINGLE).exists() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    let path = folder.join(INDEX);
    let Some(index) = read::<Map<String, Json>>(&path, MAX_CONFIG)? else {
        if has_parts(folder) {
            return Err(Error::Missing { folder: folder.to_owned(), name: INDEX.to_owned() });
        }
        return Ok(vec![SINGLE.to_owned()]);
    };
    let keys = Keys::new(&path, &index);
    let map = keys.object("weight_map")?;
    let map = keys.needed("weight_map", map)?;
    let is_name = |name: &&str| {
        name.ends_with(".safetensors") && !name.contains(['/', '\\']) && !name.contains(char::is_control)
    };
    let names: Option<BTreeSet<&str>> = map.values().map(|name| name.as_str().filter(is_name)).collect();
    let wrong = ConfigProblem::WrongValue { key: "weight_map".to_owned(), expected: Expected::FileNames };
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| keys.wrong(wrong))?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Whether there are several files of weights, by the names that `save_pretrained` gives them.
fn has_parts(folder: &Path) -> bool {
    let is_part = |name: &str| {
        let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
        numbers.is_some_and(|numbers| numbers.contains("-of-"))
    };
    folder.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_part)))
    })
}

/// Where a path leads, past all links; a file that is not there lies in the folder that it would be in.
fn place_of(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
    })
}

/// The last part of a folder's path; of a repository in Hugging Face's cache, the repository's name.
fn name_of(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mut names = folder.iter().rev().filter_map(|name| name.to_str());
    let last = names.next()?;
    if names.next() == Some("snapshots")
        && let Some(repository) = names.next().and_then(|name| name.strip_prefix("models--"))
    {
        return repository.rsplit("--").next().map(str::to_owned);
    }
    Some(last.to_owned())
}
