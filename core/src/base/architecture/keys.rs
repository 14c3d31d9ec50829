//! Typed look-ups below an architecture's prefix, with errors that name the key.

use nightgraft_gguf::{Array, Metadata, Value};

use super::super::weight::unsupported;
use super::MAX_COUNT;
use crate::error::{KeyProblem, ModelProblem};
use crate::{Error, Result};

/// The keys `<architecture>.…` of a file.
pub struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'a str,
}

impl<'a> Keys<'a> {
    pub fn new(metadata: &'a Metadata, prefix: &'a str) -> Self {
        Self { metadata, prefix }
    }

    /// A count from 1 to `max`.
    pub fn count(&self, key: &str, max: usize) -> Result<usize> {
        self.optional_count(key, max)?.ok_or_else(|| self.wrong(key, KeyProblem::Missing))
    }

    /// A count from 1 to `max`, if the key is there.
    pub fn optional_count(&self, key: &str, max: usize) -> Result<Option<usize>> {
        let name = self.name(key);
        let Some(value) = self.metadata.get(&name) else { return Ok(None) };
        match uniform(value) {
            Some(n) => match usize::try_from(n) {
                Ok(count) if (1..=max).contains(&count) => Ok(Some(count)),
                _ => Err(self.wrong(key, KeyProblem::Count { found: n, most: max })),
            },
            None => Err(self.wrong(key, KeyProblem::NotOneInteger { found: value.type_name() })),
        }
    }

    /// A count from 0 to `max`, if the key is there.
    pub fn optional_count_or_zero(&self, key: &str, max: usize) -> Result<Option<usize>> {
        if self.metadata.get(&self.name(key)).and_then(uniform) == Some(0) {
            return Ok(Some(0));
        }
        self.optional_count(key, max)
    }

    /// For each of `n_layer` layers whether it is one of those that a pattern marks: a list with an entry for each layer, or a
    /// number n that marks all but each n-th one (0 all of them); `default` if the key is not there.
    pub fn layer_pattern(&self, key: &str, default: usize, n_layer: usize) -> Result<Vec<bool>> {
        let list: Option<Vec<bool>> = match self.metadata.get(&self.name(key)) {
            Some(Value::Array(Array::Bool(list))) => Some(list.clone()),
            Some(Value::Array(Array::U32(list))) => Some(list.iter().map(|&entry| entry != 0).collect()),
            Some(Value::Array(Array::I32(list))) => Some(list.iter().map(|&entry| entry != 0).collect()),
            _ => None,
        };
        if let Some(list) = list {
            let found = list.len();
            return if found == n_layer {
                Ok(list)
            } else {
                Err(self.wrong(key, KeyProblem::Entries { found, n_layer }))
            };
        }
        let step = self.optional_count_or_zero(key, MAX_COUNT)?.unwrap_or(default);
        Ok((0..n_layer).map(|layer| step == 0 || layer % step < step - 1).collect())
    }

    /// A finite positive number, if the key is there. Zero counts as not there where llama.cpp reads it so.
    pub fn optional_factor(&self, key: &str) -> Result<Option<f32>> {
        if self.metadata.f32(&self.name(key)) == Some(0.0) {
            return Ok(None);
        }
        self.optional_positive(key)
    }

    /// A finite positive number, if the key is there.
    pub fn optional_positive(&self, key: &str) -> Result<Option<f32>> {
        let Some(value) = self.metadata.get(&self.name(key)) else { return Ok(None) };
        match value.as_f32() {
            Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
            Some(found) => Err(self.wrong(key, KeyProblem::NotPositive { found })),
            None => Err(self.wrong(key, KeyProblem::NotAFloat { found: value.type_name() })),
        }
    }

    /// A truth value, if the key is there and holds one.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.metadata.bool(&self.name(key))
    }

    /// A string, if the key is there.
    pub fn optional_string(&self, key: &str) -> Result<Option<&'a str>> {
        let name = self.name(key);
        match self.metadata.get(&name) {
            None => Ok(None),
            Some(value) => match self.metadata.string(&name) {
                Some(text) => Ok(Some(text)),
                None => Err(self.wrong(key, KeyProblem::NotAString { found: value.type_name() })),
            },
        }
    }

    /// Refuses the file if the key is there with anything but zero, for keys whose meaning is not built.
    pub fn must_be_zero(&self, key: &str, meaning: &'static str) -> Result<()> {
        match self.metadata.get(&self.name(key)) {
            None => Ok(()),
            Some(value) if value.as_u64() == Some(0) || value.as_f32() == Some(0.0) => Ok(()),
            Some(_) => Err(self.wrong(key, KeyProblem::Set { meaning })),
        }
    }

    /// An error about a key.
    pub fn wrong(&self, key: &str, problem: KeyProblem) -> Error {
        unsupported(ModelProblem::Key { key: self.name(key), problem })
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }
}

/// An integer, or the one that a list with an entry for each layer repeats.
fn uniform(value: &Value) -> Option<u64> {
    fn repeated<T: Copy + PartialEq + TryInto<u64>>(list: &[T]) -> Option<u64> {
        let (first, rest) = list.split_first()?;
        rest.iter().all(|item| item == first).then(|| (*first).try_into().ok()).flatten()
    }
    match value {
        Value::Array(Array::U32(list)) => repeated(list),
        Value::Array(Array::I32(list)) => repeated(list),
        other => other.as_u64(),
    }
}
