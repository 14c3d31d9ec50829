//! Examples as apps give them.

use serde_json::{Value, json};

/// Something to learn.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Example {
    /// A conversation. The model learns what the assistant says in it.
    Chat {
        /// The turns, in order.
        messages: Vec<Message>,
    },
    /// A text and how it goes on. The model learns the second part.
    Completion {
        /// The beginning, which is not learned.
        prompt: String,
        /// What follows.
        completion: String,
    },
    /// A text, all of which is learned.
    Text {
        /// The text.
        text: String,
    },
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Example {
    /// The line of JSON that the store keeps.
    pub(crate) fn to_json_line(&self) -> String {
        let value: Value = match self {
            Self::Chat { messages } => {
                let turns: Vec<_> = messages
                    .iter()
                    .map(|Message { role, content }| json!({ "role": role, "content": content }))
                    .collect();
                json!({ "messages": turns })
            }
            Self::Completion { prompt, completion } => json!({ "prompt": prompt, "completion": completion }),
            Self::Text { text } => json!({ "text": text }),
        };
        value.to_string()
    }
}
