//! Typed look-ups below an architecture's prefix, with errors that name the key.
//!
//! A value is read in the one type in which llama.cpp reads it (`llama-model-loader.cpp`, `GKV`), because that refuses files
//! with any other.

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
        match self.metadata.get(&self.name(key)) {
            None => Ok(None),
            Some(&Value::U32(n)) => self.in_range(key, n, max).map(Some),
            Some(value) => Err(self.wrong_type(key, value, "u32")),
        }
    }

    /// A count from 1 to `max` that all layers share: a number, or a list that repeats it for each of `n_layer` layers.
    pub fn uniform_count(&self, key: &str, max: usize, n_layer: usize) -> Result<usize> {
        self.optional_uniform_count(key, max, n_layer)?.ok_or_else(|| self.wrong(key, KeyProblem::Missing))
    }

    /// A count from 1 to `max` that all layers share, if the key is there.
    pub fn optional_uniform_count(&self, key: &str, max: usize, n_layer: usize) -> Result<Option<usize>> {
        let list: Vec<u32> = match self.metadata.get(&self.name(key)) {
            Some(Value::Array(Array::U32(list))) => list.clone(),
            // llama.cpp takes their bits for unsigned numbers.
            Some(Value::Array(Array::I32(list))) => list.iter().map(|entry| entry.cast_unsigned()).collect(),
            _ => return self.optional_count(key, max),
        };
        match list.split_first() {
            Some((&first, rest)) if list.len() == n_layer => {
                if rest.iter().any(|&entry| entry != first) {
                    return Err(self.wrong(key, KeyProblem::DiffersBetweenLayers));
                }
                self.in_range(key, first, max).map(Some)
            }
            _ => Err(self.wrong(key, KeyProblem::Entries { found: list.len(), n_layer })),
        }
    }

    /// A count from 0 to `max`, if the key is there.
    pub fn optional_count_or_zero(&self, key: &str, max: usize) -> Result<Option<usize>> {
        if self.metadata.get(&self.name(key)) == Some(&Value::U32(0)) {
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
        if matches!(self.metadata.get(&self.name(key)), Some(&Value::F32(0.0))) {
            return Ok(None);
        }
        self.optional_positive(key)
    }

    /// A finite positive number, if the key is there.
    pub fn optional_positive(&self, key: &str) -> Result<Option<f32>> {
        match self.metadata.get(&self.name(key)) {
            None => Ok(None),
            Some(&Value::F32(x)) if x.is_finite() && x > 0.0 => Ok(Some(x)),
            Some(&Value::F32(found)) => Err(self.wrong(key, KeyProblem::NotPositive { found })),
            Some(value) => Err(self.wrong_type(key, value, "f32")),
        }
    }

    /// A truth value, if the key is there.
    pub fn optional_bool(&self, key: &str) -> Result<Option<bool>> {
        match self.metadata.get(&self.name(key)) {
            None => Ok(None),
            Some(&Value::Bool(truth)) => Ok(Some(truth)),
            Some(value) => Err(self.wrong_type(key, value, "bool")),
        }
    }

    /// A string, if the key is there.
    pub fn optional_string(&self, key: &str) -> Result<Option<&'a str>> {
        match self.metadata.get(&self.name(key)) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.wrong_type(key, value, "string")),
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

    fn in_range(&self, key: &str, n: u32, max: usize) -> Result<usize> {
        match usize::try_from(n) {
            Ok(count) if (1..=max).contains(&count) => Ok(count),
            _ => Err(self.wrong(key, KeyProblem::Count { found: n.into(), most: max })),
        }
    }

    fn wrong_type(&self, key: &str, value: &Value, expected: &'static str) -> Error {
        self.wrong(key, KeyProblem::Type { found: value.type_name(), expected })
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }
}
