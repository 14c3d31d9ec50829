//! One line of a `.jsonl` file.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::foreign_shape;
use super::json_kind::JsonKind;
use super::line_problem::LineProblem;
use super::turns::{self, Learned};
use super::unreadable::Unreadable;
use crate::{Conversation, Variables};

/// What a line holds.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// `{"text"}`
    Text(String),
    /// `{"prompt", "completion"}`
    Completion { prompt: String, completion: String },
    /// `{"messages": [{"role", "content"}]}`, or `{"prompt", "completion"}` whose two parts are lists of messages.
    Conversation(Conversation),
    /// `{"input_ids", "labels"}`: a label is `None` where there is no loss.
    Tokens { ids: Vec<u32>, labels: Vec<Option<u32>> },
}

/// A line that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) line: Line,
    /// Keys that mean nothing. What a chat template may look at is not among them.
    pub(super) unused_keys: BTreeSet<String>,
}

/// Whether a line of a `.jsonl` file has one of the shapes that [`load`](super::load) reads, as far as that can be said
/// without a model. Ids may then still be beyond its vocabulary, and a conversation may not fit its template.
///
/// # Errors
/// What is wrong, without any of the text.
pub fn check_line(json: &str) -> Result<(), LineProblem> {
    if json.len() as u64 > MAX_LINE_BYTES {
        return Err(LineProblem::TooLong);
    }
    Line::parse(json, i32::MAX as usize).map(drop)
}

/// A line may have this many bytes.
pub const MAX_LINE_BYTES: u64 = 16 << 20;
/// The label that Hugging Face's trainers ignore.
const NO_LABEL: i64 = -100;
/// Keys whose presence says which kind a line is of.
const KINDS: [&str; 4] = ["text", "prompt", "messages", "input_ids"];
/// Keys beside a conversation that its template may look at.
const VARIABLES: [&str; 3] = ["tools", "functions", "documents"];
/// A key beside a conversation whose entries its template may look at.
const TEMPLATE_OPTIONS: &str = "chat_template_kwargs";

/// Keys beside an answer that say whether it was accepted, as KTO learns from both kinds.
const VERDICTS: [&str; 2] = ["label", "kto_tag"];

impl Line {
    /// Parses a line; ids must be below `n_vocab`.
    ///
    /// # Errors
    /// What is wrong, without any of the text.
    pub(super) fn parse(json: &str, n_vocab: usize) -> Result<Parsed, LineProblem> {
        let value: Value = serde_json::from_str(json).map_err(|error| Unreadable::of(json, &error))?;
        let mut object = match value {
            Value::Object(object) => object,
            Value::Array(_) => return Err(LineProblem::Array),
            other => return Err(LineProblem::NotAnObject(JsonKind::of(&other))),
        };
        let kinds: Vec<_> = KINDS.into_iter().filter(|key| object.contains_key(*key)).collect();
        if let Some(shape) = foreign_shape::foreign(&object) {
            return Err(shape.into());
        }
        let line = match kinds.as_slice() {
            ["text"] => Self::Text(non_empty("text", string("text", take(&mut object, "text")?)?)?),
            ["prompt"] => Self::completion(&mut object)?,
            ["messages"] => {
                let messages = turns::read("messages", take(&mut object, "messages")?, Learned::AsWeighted)?;
                Self::conversation(Conversation { messages, variables: variables(&mut object)? })?
            }
            ["input_ids"] => {
                tokens(&take(&mut object, "input_ids")?, &take(&mut object, "labels")?, n_vocab)?
            }
            [] => return Err(LineProblem::UnknownShape),
            _ => return Err(LineProblem::SeveralShapes(kinds)),
        };
        if matches!(line, Self::Completion { .. } | Self::Conversation(_)) {
            check_verdict(&mut object)?;
        }
        check_masks(&mut object)?;
        Ok(Parsed { line, unused_keys: object.into_iter().map(|(key, _)| key).collect() })
    }

    /// `{"prompt", "completion"}`: two texts, or two lists of messages.
    fn completion(object: &mut Map<String, Value>) -> Result<Self, LineProblem> {
        let (prompt, completion) = (take(object, "prompt")?, take(object, "completion")?);
        if !prompt.is_array() && !completion.is_array() {
            let (prompt, completion) = (string("prompt", prompt)?, string("completion", completion)?);
            return Ok(Self::Completion { prompt, completion: non_empty("completion", completion)? });
        }
        if !(prompt.is_array() && completion.is_array()) {
            return Err(LineProblem::TextAndMessages);
        }
        let mut messages = turns::read("prompt", prompt, Learned::Nothing)?;
        messages.extend(turns::read("completion", completion, Learned::AsWeighted)?);
        Self::conversation(Conversation { messages, variables: variables(object)? })
    }

    fn conversation(conversation: Conversation) -> Result<Self, LineProblem> {
        if conversation.messages.iter().any(|message| message.is_learned()) {
            return Ok(Self::Conversation(conversation));
        }
        Err(match conversation.messages.iter().any(|message| message.is_answer()) {
            true => LineProblem::AllMasked,
            false => LineProblem::NoAnswer,
        })
    }
}

/// Takes the verdict over an answer. What is no verdict, such as the number of a class, stays as an ordinary key.
fn check_verdict(object: &mut Map<String, Value>) -> Result<(), LineProblem> {
    for key in VERDICTS {
        match object.get(key) {
            Some(Value::Bool(true)) => drop(object.shift_remove(key)),
            Some(Value::Bool(false)) => return Err(LineProblem::Rejected { key }),
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => {
                return Err(LineProblem::PerhapsRejected { key });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes what says of a whole line that it is learned. What is neither yes nor no stays, as an ordinary key, but for a weight.
fn check_masks(object: &mut Map<String, Value>) -> Result<(), LineProblem> {
    for key in turns::MASKS {
        match object.get(key).map(turns::is_learned) {
            Some(Some(true)) => drop(object.shift_remove(key)),
            Some(Some(false)) => return Err(LineProblem::Masked { key }),
            Some(None) if key == "weight" => return Err(LineProblem::UnclearWeight),
            Some(None) | None => {}
        }
    }
    Ok(())
}

/// What a template may look at besides the turns.
fn variables(object: &mut Map<String, Value>) -> Result<Variables, LineProblem> {
    let mut variables = Variables::new();
    for key in VARIABLES {
        let value = match object.remove(key) {
            None | Some(Value::Null) => continue,
            // Tables of strings have lists as their JSON, and nothing for none.
            Some(Value::String(json)) if json.trim().is_empty() => continue,
            Some(Value::String(json)) => serde_json::from_str(&json).unwrap_or(Value::String(json)),
            Some(value) => value,
        };
        if !value.is_array() {
            return Err(kind(key, &value, JsonKind::List));
        }
        variables.insert(key.to_owned(), value);
    }
    match object.remove(TEMPLATE_OPTIONS) {
        None | Some(Value::Null) => {}
        Some(Value::Object(options)) => variables.extend(options),
        Some(other) => return Err(kind(TEMPLATE_OPTIONS, &other, JsonKind::Object)),
    }
    Ok(variables)
}

fn kind(key: &'static str, found: &Value, expected: JsonKind) -> LineProblem {
    LineProblem::Kind { key, found: JsonKind::of(found), expected }
}

fn take(object: &mut Map<String, Value>, key: &'static str) -> Result<Value, LineProblem> {
    object.shift_remove(key).ok_or(LineProblem::Missing { key })
}

fn string(key: &'static str, value: Value) -> Result<String, LineProblem> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(kind(key, &other, JsonKind::String)),
    }
}

fn non_empty(key: &'static str, text: String) -> Result<String, LineProblem> {
    if text.is_empty() { Err(LineProblem::Empty { key }) } else { Ok(text) }
}

fn tokens(ids: &Value, labels: &Value, n_vocab: usize) -> Result<Line, LineProblem> {
    let numbers = |key: &'static str, value: &Value| -> Result<Vec<i64>, LineProblem> {
        let list = value.as_array().ok_or_else(|| kind(key, value, JsonKind::List))?;
        let number = |(index, item): (usize, &Value)| {
            item.as_i64().ok_or_else(|| LineProblem::NotAnInteger { key, index, found: JsonKind::of(item) })
        };
        list.iter().enumerate().map(number).collect()
    };
    let id = |key: &'static str, number: i64| {
        let id = u32::try_from(number).ok().filter(|&id| (id as usize) < n_vocab);
        id.ok_or(LineProblem::UnknownId { key, id: number, n_vocab })
    };
    let (ids, labels) = (numbers("input_ids", ids)?, numbers("labels", labels)?);
    if ids.len() != labels.len() {
        return Err(LineProblem::Lengths { ids: ids.len(), labels: labels.len() });
    }
    let ids = ids.into_iter().map(|number| id("input_ids", number)).collect::<Result<Vec<_>, _>>()?;
    let label = |number| if number == NO_LABEL { Ok(None) } else { id("labels", number).map(Some) };
    let labels = labels.into_iter().map(label).collect::<Result<Vec<_>, _>>()?;
    if labels.iter().skip(1).all(Option::is_none) {
        return Err(LineProblem::NoLabel);
    }
    Ok(Line::Tokens { ids, labels })
}

#[cfg(test)]
mod tests;
