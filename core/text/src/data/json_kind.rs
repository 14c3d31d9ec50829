//! The kinds of JSON values.

use serde_json::Value;

/// What kind of value something is in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[allow(missing_docs)]
pub enum JsonKind {
    #[strum(to_string = "null")]
    Null,
    #[strum(to_string = "a boolean")]
    Boolean,
    #[strum(to_string = "a number")]
    Number,
    #[strum(to_string = "a string")]
    String,
    #[strum(to_string = "a list")]
    List,
    #[strum(to_string = "an object")]
    Object,
}

impl JsonKind {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }
}
