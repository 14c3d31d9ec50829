//! Lines and files in the shapes of other programs, recognized by name, each with the way to convert it.

use std::fmt;

use serde_json::{Map, Value};

/// The shape of a line that another program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"conversations": [{"from", "value"}]}`
    ShareGpt(Turns),
    /// The turns of `messages` under another name.
    Messages(Turns),
    /// `{"contents": [{"role", "parts"}]}`
    Gemini,
    /// `{"system", "messages"}`
    SystemBeside,
    /// `{"instruction", "input", "output"}`
    Alpaca,
    /// `{"instruction", "context", "response"}`
    Dolly,
    /// A question and its answer under other names.
    Pair { question: &'static str, answer: &'static str },
    /// `{"prompt", "chosen", "rejected"}`
    Preference { has_prompt: bool },
}

/// The key under which a shape has its turns.
pub(super) type Turns = &'static str;

const TURNS: [Turns; 5] = ["conversations", "conversation", "dialog", "dialogue", "chat"];
/// Names of a question and its answer. `{"prompt", "completion"}` is ours.
const PAIRS: [(&str, &str); 9] = [
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("input", "output"),
    ("instruction", "response"),
    ("user", "assistant"),
];

/// The shape of an object that is none of ours, if it is a known one.
pub(super) fn foreign(object: &Map<String, Value>) -> Option<Shape> {
    let has = |key: &str| object.contains_key(key);
    let is_text = |key: &str| object.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if has("messages") {
        // Anthropic has the system text beside the turns.
        let has_parts =
            || object.get("system").and_then(Value::as_array).is_some_and(|parts| !parts.is_empty());
        return (is_text("system") || has_parts()).then_some(Shape::SystemBeside);
    }
    if has("text") || has("input_ids") || has("completion") {
        return None;
    }
    if has("chosen") {
        return Some(Shape::Preference { has_prompt: has("prompt") });
    }
    for key in TURNS {
        if let Some(first) = object.get(key).and_then(Value::as_array).and_then(|turns| turns.first()) {
            let is_message = first.get("role").is_some();
            return Some(if is_message { Shape::Messages(key) } else { Shape::ShareGpt(key) });
        }
    }
    if object.get("contents").is_some_and(Value::is_array) {
        return Some(Shape::Gemini);
    }
    match (has("instruction"), has("output"), has("context") && has("response")) {
        (true, true, _) => return Some(Shape::Alpaca),
        (true, _, true) => return Some(Shape::Dolly),
        _ => {}
    }
    let pair = PAIRS.into_iter().find(|(question, answer)| has(question) && has(answer));
    pair.map(|(question, answer)| Shape::Pair { question, answer })
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let (what, filter) = match *self {
            Self::ShareGpt(key) => (
                format!("ShareGPT's ({{{key:?}: [{{\"from\", \"value\"}}]}})"),
                format!(
                    "{{messages: [.{key}[] | {{role: ({{human: \"user\", gpt: \"assistant\", chatgpt: \"assistant\", \
                     bing: \"assistant\", bard: \"assistant\"}}[.from] // .from), content: .value}}]}}"
                ),
            ),
            Self::Messages(key) => (
                format!("that of {{\"messages\"}} under another name, {key:?}"),
                format!(".messages = .{key} | del(.{key})"),
            ),
            Self::Gemini => (
                "Gemini's ({\"contents\": [{\"role\", \"parts\"}]})".into(),
                "{messages: [.contents[] | {role: (if .role == \"model\" then \"assistant\" else .role end), \
                 content: ([.parts[].text] | join(\"\"))}]}"
                    .into(),
            ),
            Self::SystemBeside => (
                "Anthropic's, with \"system\" beside \"messages\"".into(),
                ".messages = [{role: \"system\", content: .system}] + .messages | del(.system)".into(),
            ),
            Self::Alpaca => (
                "Alpaca's ({\"instruction\", \"input\", \"output\"})".into(),
                instruction("input", "output"),
            ),
            Self::Dolly => (
                "Dolly's ({\"instruction\", \"context\", \"response\"})".into(),
                instruction("context", "response"),
            ),
            Self::Pair { question, answer } => (
                format!("a question and its answer ({{{question:?}, {answer:?}}})"),
                format!(
                    "{{messages: [{{role: \"user\", content: .{question}}}, {{role: \"assistant\", content: .{answer}}}]}}"
                ),
            ),
            Self::Preference { has_prompt } => (
                "that of preferences ({\"chosen\", \"rejected\"}), of which only what was chosen can be learned".into(),
                if has_prompt { "{prompt, completion: .chosen}" } else { "{messages: .chosen}" }.into(),
            ),
        };
        write!(formatter, "the shape is {what}; jq -c '{filter}' FILE > NEW.jsonl converts it")
    }
}

/// The filter for an instruction with, perhaps, what it is about.
fn instruction(about: &str, answer: &str) -> String {
    format!(
        "{{messages: [{{role: \"user\", content: ([.instruction, .{about} // \"\"] | map(select(. != \"\")) | \
         join(\"\\n\\n\"))}}, {{role: \"assistant\", content: .{answer}}}]}}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(line: &str) -> Option<String> {
        let value: Value = serde_json::from_str(line).unwrap();
        foreign(value.as_object().unwrap()).map(|shape| shape.to_string())
    }

    #[test]
    fn shapes_of_other_trainers_are_named_with_the_way_to_convert_them() {
        for (line, name, filter) in [
            (r#"{"conversations": [{"from": "human", "value": "q"}]}"#, "ShareGPT's", ".conversations[]"),
            (
                r#"{"conversation": [{"role": "user", "content": "q"}]}"#,
                "under another name",
                "del(.conversation)",
            ),
            (r#"{"instruction": "q", "input": "", "output": "a"}"#, "Alpaca's", ".output"),
            (r#"{"instruction": "q", "context": "", "response": "a"}"#, "Dolly's", ".response"),
            (r#"{"instruction": "q", "response": "a"}"#, "a question and its answer", ".instruction"),
            (r#"{"question": "q", "answer": "a"}"#, "a question and its answer", ".question"),
            (r#"{"prompt": "q", "response": "a"}"#, "a question and its answer", ".response"),
            (
                r#"{"prompt": "q", "chosen": "a", "rejected": "b"}"#,
                "preferences",
                "{prompt, completion: .chosen}",
            ),
            (r#"{"chosen": [], "rejected": []}"#, "preferences", "{messages: .chosen}"),
            (r#"{"contents": [{"role": "user", "parts": []}]}"#, "Gemini's", ".contents[]"),
            (r#"{"system": "s", "messages": []}"#, "Anthropic's", "del(.system)"),
        ] {
            let said = said(line).unwrap();
            assert!(
                said.contains(name) && said.contains(filter) && said.contains("jq -c '"),
                "{line}: {said}"
            );
        }
        for line in [
            r#"{"txt": "a"}"#,
            r#"{"text": "a", "instruction": "q", "output": "a"}"#,
            r#"{"prompt": "q", "completion": "a", "answer": "b"}"#,
            r#"{"messages": [], "system": ""}"#,
            r#"{"conversations": []}"#,
        ] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
