//! JSON files of a folder, and typed look-ups in them that name the key.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Expected;
use crate::{ConfigProblem, Error, JsonProblem, Result};

/// Far above any configuration.
pub(crate) const MAX_CONFIG: u64 = 16 << 20;
/// Far above any vocabulary: Gemma's takes 33 MB.
pub(crate) const MAX_TOKENIZER: u64 = 256 << 20;

/// The bytes of a file; none if there is no such file.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(nightgraft_files::Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Json { path: path.to_owned(), problem: JsonProblem::TooLarge { limit } });
    }
    Ok(Some(bytes))
}

/// Opens a file; none if there is no such file. A pipe that nobody writes into would never open.
pub(crate) fn open(path: &Path) -> Result<Option<File>> {
    let opened = path.metadata().and_then(|found| found.is_file().then(|| File::open(path)).transpose());
    match opened {
        Ok(Some(file)) => Ok(Some(file)),
        Ok(None) => Err(Error::NotFile { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(nightgraft_files::Error::io("open", path)(error).into()),
    }
}

/// What a file holds; none if there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<Option<T>> {
    let Some(bytes) = read_bytes(path, limit)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| malformed(path, error))
}

/// What a file that must be there holds.
pub(crate) fn read_needed<T: DeserializeOwned>(folder: &Path, name: &str, limit: u64) -> Result<T> {
    let missing = || Error::Missing { folder: folder.to_owned(), name: name.to_owned() };
    read(&folder.join(name), limit)?.ok_or_else(missing)
}

/// The error of a file that is not what it should be.
pub(crate) fn malformed(path: &Path, error: impl ToString) -> Error {
    Error::Json { path: path.to_owned(), problem: JsonProblem::Malformed(error.to_string()) }
}

/// An object of a file. A key that holds `null` counts as missing, as in Python.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    path: &'a Path,
    /// What the object is called, with a full stop; empty for the whole file.
    prefix: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    pub fn new(path: &'a Path, map: &'a Map<String, Value>) -> Self {
        Self { path, prefix: "", map }
    }

    /// An object of the file, by a name for errors such as `rope_parameters.`.
    pub fn within(&self, prefix: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { path: self.path, prefix, map }
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.typed(key, Expected::Object, Value::as_object)
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, Expected::Text, Value::as_str)
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, Expected::TruthValue, Value::as_bool)
    }

    /// A whole number from `least` to `most`.
    pub fn count(&self, key: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let within = |value: &Value| value.as_u64().filter(|count| (least..=most).contains(count));
        self.typed(key, Expected::Count { least, most }, within)
    }

    /// A number above zero that single precision can hold.
    pub fn positive(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, Expected::PositiveNumber, positive)
    }

    pub fn positives(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let all = |value: &Value| value.as_array()?.iter().map(positive).collect();
        self.typed(key, Expected::PositiveNumbers, all)
    }

    pub fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let all = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        self.typed(key, Expected::Texts, all)
    }

    /// What a key must hold.
    pub fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.wrong(ConfigProblem::MissingKey { key: self.name(key) }))
    }

    /// An error of this file.
    pub fn wrong(&self, problem: ConfigProblem) -> Error {
        Error::Config { path: self.path.to_owned(), problem }
    }

    /// The key as errors name it.
    pub fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: Expected,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || self.wrong(ConfigProblem::WrongValue { key: self.name(key), expected });
        read(value).map(Some).ok_or_else(wrong)
    }
}

fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|&number| number > 0.0 && (number as f32).is_normal())
}
