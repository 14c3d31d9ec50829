//! What a conversation has and the chat template does not show.
//!
//! Each thing is taken away in turn: where that changes neither what the model is given before the next answer nor what
//! it must say there, the template does not look at it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::answer::{Answer, answer};
use super::conversation::{Conversation, Message};
use super::template::ChatTemplate;
use super::thought;
use crate::{NotShown, Result};

/// What a template must show if it is there, since the answers stand on it.
const NEEDED_VARIABLES: [&str; 3] = ["tools", "functions", "documents"];
/// What a template must show of a message, besides its thought.
const NEEDED_KEYS: [&str; 3] = ["tool_calls", "function_call", "tool_plan"];

/// The keys of a conversation that change nothing in what this template makes of it. Those of messages are written
/// `messages[].key`.
///
/// # Errors
/// [`Error::Template`](crate::Error::Template) with the name of what the answers stand on and the template does not show, and
/// all that rendering can fail with.
pub fn unused_keys(template: &ChatTemplate, conversation: &Conversation) -> Result<BTreeSet<String>> {
    let Conversation { messages, variables } = conversation;
    let mut unused = BTreeSet::new();
    let mut moments = Moments { template, conversation, last: None };
    let next_learned = |from: usize| (from..messages.len()).find(|&index| messages[index].is_learned());
    let Some(first) = next_learned(0) else { return Ok(unused) };
    for key in given(variables) {
        let mut without = conversation.clone();
        without.variables.shift_remove(key);
        if !moments.at(first)?.changes(&without) {
            if let Some(key) = NEEDED_VARIABLES.into_iter().find(|needed| needed == key) {
                return Err(NotShown::Variable { key }.into());
            }
            unused.insert(key.clone());
        }
    }
    let mut seen = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        let Some(next) = next_learned(index) else { break };
        for key in given(message.keys()).filter(|&key| key != "role" && key != "content") {
            let is_thought = thought::KEYS.contains(&key.as_str());
            let needed = NEEDED_KEYS.into_iter().chain(thought::KEYS).find(|needed| needed == key);
            // Thoughts of answers that are only read may be gone; of what is merely named, one for each role is looked at.
            let is_passed_over = is_thought && !message.is_learned();
            if is_passed_over || (needed.is_none() && !seen.insert((message.role(), key))) {
                continue;
            }
            if !moments.at(next)?.changes(&conversation.with_message(index, message.without(key))) {
                match needed {
                    Some(key) => return Err(NotShown::Key { key, message: index + 1 }.into()),
                    None => unused.insert(format!("messages[].{key}")),
                };
            }
        }
        let is_system = message.is_system();
        if (is_system || message.is_tool_result()) && !moments.at(next)?.shows_content_of(index) {
            if !is_system {
                return Err(NotShown::ToolResult { message: index + 1 }.into());
            }
            unused.insert(format!("messages[].content of {}", message.role()));
        }
    }
    Ok(unused)
}

/// Checks that the content of an answer is in what the model must say, as it stands or otherwise.
///
/// # Errors
/// [`Error::Template`] if it is not.
pub(super) fn check_answer(
    template: &ChatTemplate,
    conversation: &Conversation,
    index: usize,
    answer: &Answer,
) -> Result<()> {
    let moment = Moment { template, conversation, index, answer: answer.clone() };
    if moment.shows_content_of(index) { Ok(()) } else { Err(NotShown::Answer { message: index + 1 }.into()) }
}

/// The moments of a conversation's answers, the last one kept.
struct Moments<'a> {
    template: &'a ChatTemplate,
    conversation: &'a Conversation,
    last: Option<Moment<'a>>,
}

/// The moment of an answer: what the model is given and must say.
struct Moment<'a> {
    template: &'a ChatTemplate,
    conversation: &'a Conversation,
    index: usize,
    answer: Answer,
}

impl<'a> Moments<'a> {
    fn at(&mut self, index: usize) -> Result<&Moment<'a>> {
        let Self { template, conversation, last } = self;
        let kept = last.take().filter(|moment| moment.index == index);
        let moment = match kept {
            Some(moment) => moment,
            None => Moment { template, conversation, index, answer: answer(template, conversation, index)? },
        };
        Ok(last.insert(moment))
    }
}

impl Moment<'_> {
    /// Whether anything is otherwise in another conversation.
    fn changes(&self, other: &Conversation) -> bool {
        answer(self.template, other, self.index).map_or(true, |other| other != self.answer)
    }

    /// Whether the content of a message matters, or there is none.
    fn shows_content_of(&self, index: usize) -> bool {
        let message = &self.conversation.messages[index];
        let content = message.text("content").unwrap_or_default();
        let other = || message.with("content", Value::from(format!("{content}?")));
        content.trim().is_empty()
            || self.shows(content.trim())
            || self.changes(&self.conversation.with_message(index, other()))
    }

    /// Whether `text` is there as it stands, and not by chance, as a short one can be.
    fn shows(&self, text: &str) -> bool {
        let Answer { prompt, completion } = &self.answer;
        text.len() > 3 && completion.contains(text) || text.len() > 16 && prompt.contains(text)
    }
}

impl Conversation {
    fn with_message(&self, index: usize, message: Message) -> Self {
        let mut changed = self.clone();
        changed.messages[index] = message;
        changed
    }
}

/// The keys that have a value.
fn given(keys: &serde_json::Map<String, Value>) -> impl Iterator<Item = &String> {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    keys.iter().filter(move |(_, value)| !is_empty(value)).map(|(key, _)| key)
}
