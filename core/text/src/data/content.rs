//! What stands under the `content` of a message: a text, or a list of parts.

use serde_json::Value;

use super::message_problem::MessageProblem;

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

/// Whether it is a text, or a list of parts that are.
pub(super) fn is_text(content: &Value) -> bool {
    content.is_string() || (content.is_array() && joined(content).is_ok())
}

/// The text of a list of parts, joined as they stand.
pub(super) fn joined(parts: &Value) -> Result<String, MessageProblem> {
    let mut text = String::new();
    for (number, part) in (1..).zip(parts.as_array().into_iter().flatten()) {
        let kind = part.get("type").and_then(Value::as_str);
        let is_text = kind.is_none_or(|kind| TEXT_PARTS.contains(&kind));
        match (part, part.get("text")) {
            (Value::String(part), _) => text.push_str(part),
            (_, Some(Value::String(part))) if is_text => text.push_str(part),
            _ => {
                let known = OTHER_PARTS.into_iter().find(|known| Some(*known) == kind);
                return Err(MessageProblem::Part { number, kind: known });
            }
        }
    }
    Ok(text)
}
