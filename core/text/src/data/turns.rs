//! The turns of a conversation, as they stand in a line.

use serde_json::{Map, Value};

use super::content::joined;
use super::json_kind::JsonKind;
use super::line_problem::LineProblem;
use super::message_problem::MessageProblem;
use crate::Message;

/// Keys that say whether a turn is learned: those of OpenAI and Mistral, and of other trainers.
pub(super) const MASKS: [&str; 7] =
    ["weight", "loss", "loss_mask", "loss_weight", "train", "trainable", "training"];
/// Keys that may take a turn from what is learned, or a part of it, and do not say it in one way.
const UNCLEAR_MASKS: [&str; 4] = ["mask", "masked", "train_detail", "training_detail"];
/// What of a list of messages is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// The assistant's turns, except for those that say otherwise.
    AsWeighted,
    /// None of them.
    Nothing,
}

/// Reads the list of messages that stands under `key`.
///
/// # Errors
/// What is wrong, without any of the text.
pub(super) fn read(key: &'static str, value: Value, learned: Learned) -> Result<Vec<Message>, LineProblem> {
    let Value::Array(items) = value else {
        return Err(LineProblem::Kind { key, found: JsonKind::of(&value), expected: JsonKind::List });
    };
    let message = |(number, item)| match item {
        Value::Object(keys) => {
            message(keys, learned).map_err(|problem| LineProblem::Message { key, number, problem })
        }
        other => Err(LineProblem::NotAMessage { key, number, found: JsonKind::of(&other) }),
    };
    (1..).zip(items).map(message).collect()
}

/// Whether a turn or a line of this weight is learned; `None` for a weight between or beyond, and for what is none.
pub(super) fn is_learned(weight: &Value) -> Option<bool> {
    match weight {
        Value::Bool(learned) => Some(*learned),
        Value::Null => Some(true),
        weight => match weight.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
    }
}

fn message(mut keys: Map<String, Value>, learned: Learned) -> Result<Message, MessageProblem> {
    match keys.get("role") {
        Some(Value::String(_)) => {}
        Some(other) => return Err(no_string("role", other)),
        None => return Err(MessageProblem::Missing { key: "role" }),
    }
    if let Some(calls) = keys.get_mut("tool_calls") {
        tool_calls(calls)?;
    }
    let acts = ["tool_calls", "function_call"]
        .iter()
        .any(|key| keys.get(*key).is_some_and(|value| !value.is_null()));
    match keys.get_mut("content") {
        Some(content @ Value::Array(_)) => *content = Value::String(joined(content)?),
        Some(Value::String(_)) => {}
        Some(Value::Null) | None if acts => {}
        Some(other) => return Err(no_string("content", other)),
        None => return Err(MessageProblem::Missing { key: "content" }),
    }
    let masks = MASKS.into_iter().filter_map(|mask| Some((mask, is_learned(keys.get(mask)?))));
    let masks: Vec<_> = masks.collect();
    let is_answer = keys.get("role").is_some_and(|role| role == "assistant");
    let is_masked = learned == Learned::Nothing || masks.iter().any(|(_, learned)| *learned == Some(false));
    if is_answer && !is_masked {
        check_masks(&keys, &masks)?;
    }
    // What says of another turn that it is not learned is right as well.
    let is_followed = |learned: Option<bool>| learned == Some(false) || is_answer && learned.is_some();
    for (mask, _) in masks.into_iter().filter(|(_, learned)| is_followed(*learned)) {
        keys.shift_remove(mask);
    }
    let message = Message::from_keys(keys);
    Ok(if is_masked { message.masked() } else { message })
}

fn no_string(key: &'static str, found: &Value) -> MessageProblem {
    MessageProblem::Kind { key, found: JsonKind::of(found), expected: JsonKind::String }
}

/// Refuses an answer that may not be meant to be learned.
fn check_masks(
    keys: &Map<String, Value>,
    masks: &[(&'static str, Option<bool>)],
) -> Result<(), MessageProblem> {
    if let Some(&(key, _)) = masks.iter().find(|(_, learned)| learned.is_none()) {
        return Err(MessageProblem::UnclearWeight { key });
    }
    let is_set = |mask: &&str| keys.get(*mask).is_some_and(|value| !value.is_null());
    let unclear = UNCLEAR_MASKS.into_iter().find(is_set);
    unclear.map_or(Ok(()), |key| Err(MessageProblem::UnclearMask { key }))
}

/// Calls of tools have their arguments as an object, as templates expect it, where they are written as its JSON.
fn tool_calls(calls: &mut Value) -> Result<(), MessageProblem> {
    let calls = match calls {
        Value::Null => return Ok(()),
        Value::Array(calls) => calls,
        other => {
            let found = JsonKind::of(other);
            return Err(MessageProblem::Kind { key: "tool_calls", found, expected: JsonKind::List });
        }
    };
    for call in calls {
        if !call.is_object() {
            return Err(MessageProblem::Call { found: JsonKind::of(call) });
        }
        let arguments = match call.get("function").is_some_and(Value::is_object) {
            true => call.pointer_mut("/function/arguments"),
            false => call.get_mut("arguments"),
        };
        if let Some(arguments) = arguments
            && let Some(object) = arguments.as_str().and_then(|json| serde_json::from_str(json).ok())
        {
            *arguments = Value::Object(object);
        }
    }
    Ok(())
}
