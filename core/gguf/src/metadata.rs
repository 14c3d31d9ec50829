//! The keys and values of a GGUF, in the order of the file.

use std::collections::HashMap;

use super::{Array, Value};

/// An ordered map from keys such as `llama.block_count` to typed values.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    places: HashMap<String, usize>,
}

impl Metadata {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.places.get(key).and_then(|&place| self.entries.get(place)).map(|(_, value)| value)
    }

    /// Sets `key`, keeping its place if it is there already. Returns the value it had.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        let key = key.into();
        match self.places.get(&key).and_then(|&place| self.entries.get_mut(place)) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
                None
            }
        }
    }

    /// Drops some keys, if they are there.
    pub fn remove(&mut self, keys: &[&str]) {
        self.retain(|key, _| !keys.contains(&key));
    }

    /// Drops all arrays.
    pub fn remove_arrays(&mut self) {
        self.retain(|_, value| !matches!(value, Value::Array(_)));
    }

    fn retain(&mut self, mut keep: impl FnMut(&str, &Value) -> bool) {
        self.entries.retain(|(key, value)| keep(key, value));
        self.places = self.entries.iter().enumerate().map(|(i, (key, _))| (key.clone(), i)).collect();
    }

    /// The value of `key` if it is a string.
    pub fn string(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `key` if it is a non-negative integer of any width.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The value of `key` if it is a float of either width.
    pub fn f32(&self, key: &str) -> Option<f32> {
        self.get(key)?.as_f32()
    }

    /// The value of `key` if it is a boolean.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of `key` if it is a list of strings.
    pub fn strings(&self, key: &str) -> Option<&[String]> {
        match self.get(key)? {
            Value::Array(Array::String(list)) => Some(list),
            _ => None,
        }
    }

    /// The value of `key` if it is a list of single-precision floats.
    pub fn f32s(&self, key: &str) -> Option<&[f32]> {
        match self.get(key)? {
            Value::Array(Array::F32(list)) => Some(list),
            _ => None,
        }
    }

    /// The value of `key` if it is a list of signed 32-bit integers.
    pub fn i32s(&self, key: &str) -> Option<&[i32]> {
        match self.get(key)? {
            Value::Array(Array::I32(list)) => Some(list),
            _ => None,
        }
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}
