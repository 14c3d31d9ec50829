//! How the turns of other programs name who speaks and what is said.

use serde_json::{Map, Value};

use super::obstacle::Obstacle;
use crate::data::content::is_text;

/// Names of speakers, with our roles for them.
pub(super) const ALIASES: [(&str, &str); 10] = [
    ("human", "user"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("model", "assistant"),
    ("bot", "assistant"),
    ("observation", "tool"),
    ("function_response", "tool"),
    ("tool_response", "tool"),
];
/// Roles that templates know.
const ROLES: [&str; 7] = ["system", "developer", "user", "assistant", "tool", "function", "ipython"];
/// ShareGPT's name for the assistant that calls a tool.
const CALL: &str = "function_call";
const WHO: [&str; 5] = ["role", "from", "speaker", "author", "sender"];
const WHAT: [&str; 6] = ["content", "value", "text", "parts", "utterance", "message"];
/// Names of a question and its answer within a list.
const EXCHANGES: [Exchange; 5] = [
    Exchange { question: "human", answer: "assistant" },
    Exchange { question: "user", answer: "assistant" },
    Exchange { question: "input", answer: "output" },
    Exchange { question: "question", answer: "answer" },
    Exchange { question: "prompt", answer: "response" },
];

/// What the entries of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    /// Each is a turn.
    Named(Named),
    /// Each is a question with its answer.
    Exchanges(Exchange),
}

/// The keys of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) who: &'static str,
    pub(super) what: &'static str,
    /// Whether keys and roles are ours already.
    pub(super) is_ours: bool,
}

/// The keys of a question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) question: &'static str,
    pub(super) answer: &'static str,
}

impl Turns {
    /// What a list has as its turns, of which one at least is the model's.
    pub(super) fn of(items: &[Value]) -> Result<Self, Obstacle> {
        if let Some(exchange) = EXCHANGES.into_iter().find(|exchange| exchange.is_all_of(items)) {
            return Ok(Self::Exchanges(exchange));
        }
        let named = Named::of(items)?;
        match items.iter().any(|item| named.role(item) == Some("assistant")) {
            true => Ok(Self::Named(named)),
            false => Err(Obstacle::Speakers),
        }
    }
}

impl Named {
    /// The keys that each turn of a list has.
    pub(super) fn of(items: &[Value]) -> Result<Self, Obstacle> {
        let first = items.first().and_then(Value::as_object).ok_or(Obstacle::Turns)?;
        let key = |keys: &[&'static str]| keys.iter().copied().find(|key| first.contains_key(*key));
        let what = key(&WHAT).ok_or(Obstacle::Turns)?;
        let who = key(&WHO).or((what == "parts").then_some("role")).ok_or(Obstacle::Turns)?;
        let mut named = Self { who, what, is_ours: false };
        if !items.iter().all(|item| named.role(item).is_some()) {
            return Err(Obstacle::Speakers);
        }
        if items.iter().any(|item| item.get(what).is_some_and(|said| !said.is_null() && !is_text(said))) {
            return Err(Obstacle::NotText(what));
        }
        let is_role =
            |item: &Value| item.get("role").is_some_and(|role| ROLES.iter().any(|known| role == known));
        named.is_ours = who == "role" && what == "content" && items.iter().all(is_role);
        Ok(named)
    }

    /// Our role for the speaker of a turn, if it is known.
    pub(super) fn role(self, turn: &Value) -> Option<&'static str> {
        let name = match turn.get(self.who) {
            None if self.what == "parts" && turn.is_object() => "user".to_owned(),
            name => name?.as_str()?.to_ascii_lowercase(),
        };
        if self.who == "from" && name == CALL {
            return is_call(turn.get(self.what)?).then_some("assistant");
        }
        let alias = ALIASES.into_iter().find(|(alias, _)| *alias == name).map(|(_, role)| role);
        alias.or_else(|| ROLES.into_iter().find(|role| *role == name))
    }
}

impl Exchange {
    /// Whether the entries have these keys, and no others than a system text.
    fn is_all_of(self, items: &[Value]) -> bool {
        let keys = [self.question, self.answer, "system", "input", "context"];
        let is_exchange = |entry: &Map<String, Value>| {
            entry.contains_key(self.question)
                && entry.contains_key(self.answer)
                && entry.iter().all(|(key, value)| keys.contains(&key.as_str()) && value.is_string())
        };
        !items.is_empty() && items.iter().all(|item| item.as_object().is_some_and(is_exchange))
    }
}

/// Whether a text is the JSON of a tool's call, or of several.
fn is_call(text: &Value) -> bool {
    let call = text.as_str().and_then(|json| serde_json::from_str(json).ok());
    match call {
        Some(Value::Array(calls)) => calls.iter().all(Value::is_object),
        Some(call) => call.is_object(),
        None => false,
    }
}
