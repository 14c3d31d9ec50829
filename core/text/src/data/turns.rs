//! The turns of a conversation, as they stand in a line.

use serde_json::{Map, Value};

use super::json_kind::json_kind;
use crate::Message;

/// Keys that say whether a turn is learned: those of OpenAI and Mistral, and of other trainers.
pub(super) const MASKS: [&str; 7] =
    ["weight", "loss", "loss_mask", "loss_weight", "train", "trainable", "training"];
/// Keys that may take a turn from what is learned, or a part of it, and do not say it in one way.
const UNCLEAR_MASKS: [&str; 4] = ["mask", "masked", "train_detail", "training_detail"];
/// Types of parts that are text.
const TEXT_PARTS: [&str; 3] = ["text", "input_text", "output_text"];
/// Types of parts that are known not to be text.
const OTHER_PARTS: [&str; 14] = [
    "image",
    "image_url",
    "input_image",
    "audio",
    "audio_url",
    "input_audio",
    "video",
    "video_url",
    "file",
    "input_file",
    "tool_use",
    "tool_result",
    "thinking",
    "refusal",
];

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
pub(super) fn read(key: &str, value: Value, learned: Learned) -> Result<Vec<Message>, String> {
    let Value::Array(items) = value else {
        return Err(format!("{key:?} is {}, not a list", json_kind(&value)));
    };
    let message = |(index, item)| match item {
        Value::Object(keys) => message(keys, learned).map_err(|problem| match key {
            "messages" => format!("message {} {problem}", index + 1),
            _ => format!("message {} of {key:?} {problem}", index + 1),
        }),
        other => Err(format!("entry {} of {key:?} is {}, not an object", index + 1, json_kind(&other))),
    };
    items.into_iter().enumerate().map(message).collect()
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

/// A message. Problems go on from its name.
fn message(mut keys: Map<String, Value>, learned: Learned) -> Result<Message, String> {
    match keys.get("role") {
        Some(Value::String(_)) => {}
        Some(other) => return Err(format!("has {} as its \"role\", not a string", json_kind(other))),
        None => return Err("has no \"role\"".into()),
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
        Some(other) => return Err(format!("has {} as its \"content\", not a string", json_kind(other))),
        None => return Err("has no \"content\"".into()),
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

/// Refuses an answer that may not be meant to be learned.
fn check_masks(keys: &Map<String, Value>, masks: &[(&str, Option<bool>)]) -> Result<(), String> {
    if let Some((mask, _)) = masks.iter().find(|(_, learned)| learned.is_none()) {
        return Err(format!(
            "has a {mask:?} that is neither 0 (not learned) nor 1 (learned); write one of them"
        ));
    }
    let is_set = |mask: &&str| keys.get(*mask).is_some_and(|value| !value.is_null());
    UNCLEAR_MASKS.into_iter().find(is_set).map_or(Ok(()), |mask| {
        Err(format!(
            "has a {mask:?}, which may mean that it is not to be learned; write \"weight\": 0 (not learned) or 1 \
             (learned) in its place"
        ))
    })
}

/// Whether it is a text, or a list of parts that are.
pub(super) fn is_text(content: &Value) -> bool {
    content.is_string() || (content.is_array() && joined(content).is_ok())
}

/// The text of a list of parts, joined as they stand.
fn joined(parts: &Value) -> Result<String, String> {
    let mut text = String::new();
    for (index, part) in parts.as_array().into_iter().flatten().enumerate() {
        let kind = part.get("type").and_then(Value::as_str);
        let is_text = kind.is_none_or(|kind| TEXT_PARTS.contains(&kind));
        match (part, part.get("text")) {
            (Value::String(part), _) => text.push_str(part),
            (_, Some(Value::String(part))) if is_text => text.push_str(part),
            _ => {
                // Types that are not known may hold anything, and are not repeated.
                let known = OTHER_PARTS.iter().find(|known| Some(**known) == kind);
                let of_type = known.map_or_else(String::new, |kind| format!(" (type {kind:?})"));
                return Err(format!(
                    "has a part {} in its \"content\" that is no text{of_type}; only text can be learned",
                    index + 1
                ));
            }
        }
    }
    Ok(text)
}

/// Calls of tools have their arguments as an object, as templates expect it, where they are written as its JSON.
fn tool_calls(calls: &mut Value) -> Result<(), String> {
    let calls = match calls {
        Value::Null => return Ok(()),
        Value::Array(calls) => calls,
        other => return Err(format!("has {} as its \"tool_calls\", not a list", json_kind(other))),
    };
    for call in calls {
        if !call.is_object() {
            return Err(format!("has {} in its \"tool_calls\", not an object", json_kind(call)));
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
