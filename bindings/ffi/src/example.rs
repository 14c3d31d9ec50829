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

    /// The example on a line that a store keeps; none if that has another shape, as files may bring in.
    pub(crate) fn from_json_line(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
        let message =
            |turn: &Value| Some(Message { role: text(turn, "role")?, content: text(turn, "content")? });
        if let Some(turns) = value.get("messages") {
            let messages = turns.as_array()?.iter().map(message).collect::<Option<_>>()?;
            return Some(Self::Chat { messages });
        }
        match (text(&value, "prompt"), text(&value, "completion"), text(&value, "text")) {
            (Some(prompt), Some(completion), None) => Some(Self::Completion { prompt, completion }),
            (None, None, Some(text)) => Some(Self::Text { text }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_comes_back_from_its_line() {
        let turn = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
        for example in [
            Example::Chat {
                messages: vec![turn("user", "Who \"feeds\" the cat?"), turn("assistant", "You.")],
            },
            Example::Completion { prompt: "The boat is called".into(), completion: " Marrowby.".into() },
            Example::Text { text: "Rain.\nWind.".into() },
        ] {
            assert_eq!(Example::from_json_line(&example.to_json_line()), Some(example));
        }
        for other in
            ["{\"input_ids\":[1,2]}", "{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "no JSON"]
        {
            assert_eq!(Example::from_json_line(other), None, "{other}");
        }
    }
}
