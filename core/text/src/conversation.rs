//! What a chat template is given: turns, and what else it may look at.

use serde::Serialize;
use serde_json::{Map, Value};

/// What a template may look at besides the turns, such as `tools`.
pub type Variables = Map<String, Value>;

/// One turn of a conversation: an object with just the keys that were given, in their order, since templates ask
/// whether one is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Message {
    keys: Map<String, Value>,
    #[serde(skip)]
    is_masked: bool,
}

/// Turns with what a template may look at besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conversation {
    /// The turns.
    pub messages: Vec<Message>,
    /// What else the template may look at.
    pub variables: Variables,
}

impl Message {
    /// A turn that is nothing but text. `role` is `system`, `user`, `assistant`, or what else the template knows.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let keys = [("role", role.into()), ("content", content.into())];
        Self::from_keys(keys.map(|(key, text)| (key.to_owned(), Value::String(text))).into_iter().collect())
    }

    /// A turn with these keys; one of them should be `role`.
    pub fn from_keys(keys: Map<String, Value>) -> Self {
        Self { keys, is_masked: false }
    }

    /// This turn, not to be learned even if it is the assistant's.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { is_masked: true, ..self }
    }

    /// Who speaks.
    pub fn role(&self) -> &str {
        self.text("role").unwrap_or_default()
    }

    /// Whether it tells the model how to behave; newer templates call that role `developer`.
    pub fn is_system(&self) -> bool {
        matches!(self.role(), "system" | "developer")
    }

    /// Whether the model said this, or should have.
    pub fn is_answer(&self) -> bool {
        self.role() == "assistant"
    }

    /// Whether this is to be learned: it is the assistant's, and not masked.
    pub fn is_learned(&self) -> bool {
        self.is_answer() && !self.is_masked
    }

    /// Whether this is what a tool gave back.
    pub fn is_tool_result(&self) -> bool {
        matches!(self.role(), "tool" | "function" | "ipython" | "observation" | "tool_response")
    }

    /// The text under `key`, if it is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.keys.get(key)?.as_str()
    }

    /// The keys with their values.
    pub fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    /// This turn with another value under `key`.
    #[must_use]
    pub(crate) fn with(&self, key: &str, value: Value) -> Self {
        let mut changed = self.clone();
        changed.keys.insert(key.to_owned(), value);
        changed
    }

    /// This turn without `key`.
    #[must_use]
    pub(crate) fn without(&self, key: &str) -> Self {
        let mut changed = self.clone();
        changed.keys.shift_remove(key);
        changed
    }
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, variables: Variables::new() }
    }
}
