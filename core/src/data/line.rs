//! One line of a `.jsonl` file.

use serde_json::Value;

use crate::text::Message;

/// What a line holds.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// `{"text"}`
    Text(String),
    /// `{"prompt", "completion"}`
    Completion { prompt: String, completion: String },
    /// `{"messages": [{"role", "content"}]}`
    Messages(Vec<Message>),
    /// `{"input_ids", "labels"}`: a label is `None` where there is no loss.
    Tokens { ids: Vec<u32>, labels: Vec<Option<u32>> },
}

/// Whether a line of a `.jsonl` file has one of the shapes that [`load`](super::load) reads, as far as that can be said
/// without a model. Ids may then still be beyond its vocabulary, and a conversation may not fit its template.
///
/// # Errors
/// What is wrong, without any of the text.
pub fn check_line(json: &str) -> Result<(), String> {
    if json.len() as u64 > MAX_LINE_BYTES {
        return Err(TOO_LONG.into());
    }
    Line::parse(json, i32::MAX as usize).map(drop)
}

/// A line may have this many bytes.
pub(crate) const MAX_LINE_BYTES: u64 = 16 << 20;
/// What is said of a longer one.
pub(super) const TOO_LONG: &str = "longer than 16 MiB";
/// The label that Hugging Face's trainers ignore.
const NO_LABEL: i64 = -100;
/// Keys whose presence says which kind a line is of.
const KINDS: [&str; 4] = ["text", "prompt", "messages", "input_ids"];

impl Line {
    /// Parses a line; ids must be below `n_vocab`.
    ///
    /// # Errors
    /// What is wrong, without any of the text.
    pub(super) fn parse(json: &str, n_vocab: usize) -> Result<Self, String> {
        let mut value: Value = serde_json::from_str(json).map_err(|error| {
            format!("not valid JSON: {:?} error at column {}", error.classify(), error.column())
        })?;
        let object = value.as_object_mut().ok_or("not a JSON object")?;
        let kinds: Vec<_> = KINDS.into_iter().filter(|key| object.contains_key(*key)).collect();
        let take = |object: &mut serde_json::Map<String, Value>, key: &str| {
            object.remove(key).ok_or_else(|| format!("{key:?} is missing"))
        };
        match kinds.as_slice() {
            ["text"] => Ok(Self::Text(non_empty("text", string("text", take(object, "text")?)?)?)),
            ["prompt"] => {
                let prompt = string("prompt", take(object, "prompt")?)?;
                let completion = string("completion", take(object, "completion")?)?;
                Ok(Self::Completion { prompt, completion: non_empty("completion", completion)? })
            }
            ["messages"] => messages(take(object, "messages")?).map(Self::Messages),
            ["input_ids"] => tokens(&take(object, "input_ids")?, &take(object, "labels")?, n_vocab),
            [] => {
                Err("none of the known shapes: {\"text\"}, {\"prompt\", \"completion\"}, {\"messages\"} or \
                       {\"input_ids\", \"labels\"}"
                    .into())
            }
            several => Err(format!("has {several:?} at once; keep one of them")),
        }
    }
}

fn string(key: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("{key:?} is {}, not a string", name(&other))),
    }
}

fn non_empty(key: &str, text: String) -> Result<String, String> {
    if text.is_empty() { Err(format!("{key:?} is empty: there is nothing to learn")) } else { Ok(text) }
}

fn messages(value: Value) -> Result<Vec<Message>, String> {
    let Value::Array(items) = value else {
        return Err(format!("\"messages\" is {}, not a list", name(&value)));
    };
    let message = |(index, item): (usize, Value)| {
        let number = index + 1;
        let Value::Object(mut item) = item else {
            return Err(format!("message {number} is {}, not an object", name(&item)));
        };
        if item.get("tool_calls").is_some_and(|calls| !calls.is_null()) {
            return Err(format!("message {number} has \"tool_calls\", which are not supported"));
        }
        let mut field = |key: &str| match item.remove(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(format!("{key:?} of message {number} is {}, not a string", name(&other))),
            None => Err(format!("message {number} has no {key:?}")),
        };
        Ok(Message { role: field("role")?, content: field("content")? })
    };
    let messages = items.into_iter().enumerate().map(message).collect::<Result<Vec<_>, _>>()?;
    if messages.iter().all(|message| message.role != "assistant") {
        return Err("no message has the role \"assistant\": there is nothing to learn".into());
    }
    Ok(messages)
}

fn tokens(ids: &Value, labels: &Value, n_vocab: usize) -> Result<Line, String> {
    let numbers = |key: &str, value: &Value| -> Result<Vec<i64>, String> {
        let list = value.as_array().ok_or_else(|| format!("{key:?} is {}, not a list", name(value)))?;
        let number = |(index, item): (usize, &Value)| {
            item.as_i64()
                .ok_or_else(|| format!("{key:?} has {} at index {index}, not an integer", name(item)))
        };
        list.iter().enumerate().map(number).collect()
    };
    let id = |key: &str, number: i64| {
        let id = u32::try_from(number).ok().filter(|&id| (id as usize) < n_vocab);
        id.ok_or_else(|| {
            format!("{key:?} has {number}; the model's ids are 0 to {}", n_vocab.saturating_sub(1))
        })
    };
    let (ids, labels) = (numbers("input_ids", ids)?, numbers("labels", labels)?);
    if ids.len() != labels.len() {
        return Err(format!("\"input_ids\" has {} entries and \"labels\" {}", ids.len(), labels.len()));
    }
    let ids = ids.into_iter().map(|number| id("input_ids", number)).collect::<Result<Vec<_>, _>>()?;
    let label = |number| if number == NO_LABEL { Ok(None) } else { id("labels", number).map(Some) };
    let labels = labels.into_iter().map(label).collect::<Result<Vec<_>, _>>()?;
    if labels.iter().skip(1).all(Option::is_none) {
        return Err("no label behind the first is other than -100: there is nothing to learn".into());
    }
    Ok(Line::Tokens { ids, labels })
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_four_shapes_are_read() {
        assert_eq!(Line::parse(r#"{"text": "a", "id": 3}"#, 9).unwrap(), Line::Text("a".into()));
        assert_eq!(
            Line::parse(r#"{"prompt": "", "completion": "b"}"#, 9).unwrap(),
            Line::Completion { prompt: String::new(), completion: "b".into() }
        );
        let messages = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "name": "x"}]}"#;
        let expected = vec![Message::new("user", "q"), Message::new("assistant", "")];
        assert_eq!(Line::parse(messages, 9).unwrap(), Line::Messages(expected));
        assert_eq!(
            Line::parse(r#"{"input_ids": [1, 8], "labels": [-100, 8]}"#, 9).unwrap(),
            Line::Tokens { ids: vec![1, 8], labels: vec![None, Some(8)] }
        );
    }

    #[test]
    fn a_line_is_checked_without_a_vocabulary() {
        check_line(r#"{"text": "a"}"#).unwrap();
        check_line(r#"{"input_ids": [1, 200000], "labels": [-100, 200000]}"#).unwrap();
        assert!(check_line(r#"{"input_ids": [1, 3000000000], "labels": [1, 2]}"#).is_err());
        assert!(check_line(r#"{"txt": "a"}"#).unwrap_err().contains("none of the known shapes"));
        let long = format!("{{\"text\": \"{}\"}}", "a".repeat(16 << 20));
        assert_eq!(check_line(&long).unwrap_err(), TOO_LONG);
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, part) in [
            ("{", "not valid JSON"),
            (r#"{"text": "secret} "#, "not valid JSON"),
            ("[1]", "not a JSON object"),
            ("{}", "none of the known shapes"),
            (r#"{"text": 1}"#, "\"text\" is a number"),
            (r#"{"text": ""}"#, "is empty"),
            (r#"{"text": "a", "messages": []}"#, "at once"),
            (r#"{"prompt": "a"}"#, "\"completion\" is missing"),
            (r#"{"prompt": "a", "completion": ""}"#, "nothing to learn"),
            (r#"{"messages": "hi"}"#, "is a string, not a list"),
            (r#"{"messages": []}"#, "\"assistant\""),
            (r#"{"messages": [{"role": "assistant"}]}"#, "message 1 has no \"content\""),
            (r#"{"messages": [{"role": "assistant", "content": ["a"]}]}"#, "is a list, not a string"),
            (r#"{"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]}"#, "tool_calls"),
            (r#"{"input_ids": [1]}"#, "\"labels\" is missing"),
            (r#"{"input_ids": [1, 2], "labels": [1]}"#, "2 entries and \"labels\" 1"),
            (r#"{"input_ids": [1, 9], "labels": [1, 2]}"#, "has 9"),
            (r#"{"input_ids": [1, -1], "labels": [1, 2]}"#, "has -1"),
            (r#"{"input_ids": [1, 1.5], "labels": [1, 2]}"#, "not an integer"),
            (r#"{"input_ids": [1, 2], "labels": [1, -99]}"#, "has -99"),
            (r#"{"input_ids": [1, 2], "labels": [1, -100]}"#, "nothing to learn"),
            (r#"{"input_ids": [], "labels": []}"#, "nothing to learn"),
        ] {
            let problem = Line::parse(line, 9).unwrap_err();
            assert!(problem.contains(part), "{line}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
