//! Lines in the shapes of other programs, recognized by name, each with the command that converts it where there is one.

mod filter;
mod obstacle;
mod turns;

use std::fmt;

use serde_json::{Map, Value};

use self::filter::{ABOUT, Asked, Chosen, Filter, SYSTEM_KEYS};
use self::obstacle::Obstacle;
use self::turns::{Exchange, Named, Turns};
use super::content::is_text;

/// A line that another program reads: its shape, and the command that converts it or why none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignShape {
    shape: Shape,
    remedy: Result<Filter, Obstacle>,
}

/// The shape of a line that another program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Turns under this key, or under these keys of each.
    Turns { key: &'static str, turns: Option<Turns> },
    /// `{"contents": [{"role", "parts"}]}`
    Gemini,
    /// Turns with the system text beside them.
    SystemBeside,
    /// A question and its answer, perhaps with what the question is about.
    Exchange(Exchange),
    /// What was chosen and what was rejected.
    Preference,
}

const TURNS: [&str; 5] = ["conversations", "conversation", "dialog", "dialogue", "chat"];
const QUESTIONS: [&str; 6] = ["prompt", "question", "instruction", "query", "input", "user"];
/// Names of a question and its answer. `{"prompt", "completion"}` is ours unless there is a system text.
const PAIRS: [Exchange; 11] = [
    Exchange { question: "instruction", answer: "output" },
    Exchange { question: "instruction", answer: "response" },
    Exchange { question: "question", answer: "answer" },
    Exchange { question: "question", answer: "response" },
    Exchange { question: "query", answer: "response" },
    Exchange { question: "query", answer: "answer" },
    Exchange { question: "prompt", answer: "response" },
    Exchange { question: "prompt", answer: "answer" },
    Exchange { question: "input", answer: "output" },
    Exchange { question: "user", answer: "assistant" },
    Exchange { question: "prompt", answer: "completion" },
];

/// The shape of an object that is none of ours, if it is a known one.
pub(super) fn foreign(object: &Map<String, Value>) -> Option<ForeignShape> {
    let has = |key: &str| object.contains_key(key);
    if has("messages") {
        return of_messages(object);
    }
    let is_completion = match object.get("completion") {
        Some(Value::String(_)) => !has_system(object),
        completion => completion.is_some(),
    };
    if has("text") || has("input_ids") || is_completion {
        return None;
    }
    if has("chosen") {
        return Some(ForeignShape { shape: Shape::Preference, remedy: preference(object) });
    }
    if let Some((key, items)) = TURNS.into_iter().find_map(|key| Some((key, list(object, key)?))) {
        let turns = Turns::of(items);
        let shape = Shape::Turns { key, turns: turns.ok() };
        let remedy = turns.and_then(|turns| alone(object, &[], Filter::turns(key, &turns)));
        return Some(ForeignShape { shape, remedy });
    }
    if let Some(contents) = list(object, "contents") {
        return Some(ForeignShape { shape: Shape::Gemini, remedy: gemini(object, contents) });
    }
    let exchange = PAIRS.into_iter().find(|pair| has(pair.question) && has(pair.answer))?;
    Some(ForeignShape { shape: Shape::Exchange(exchange), remedy: asked(object, exchange) })
}

/// Our own key, with other names in its turns or a system text beside it.
fn of_messages(object: &Map<String, Value>) -> Option<ForeignShape> {
    let items = list(object, "messages")?;
    let is_more = |content: &Value| !content.is_null() && !is_text(content);
    if items.iter().any(|item| item.get("content").is_some_and(is_more)) {
        return None; // which says more by itself
    }
    let key = "messages";
    let is_answered = items.iter().any(|item| item.get("role").is_some_and(|role| role == "assistant"));
    let turns = Turns::of(items);
    let shape = match turns {
        Ok(turns) if !is_answered => Shape::Turns { key, turns: Some(turns) },
        _ if has_system(object) && !repeats_system(object, items) => Shape::SystemBeside,
        _ => return None,
    };
    let remedy = turns.and_then(|turns| alone(object, &[], Filter::turns(key, &turns)));
    Some(ForeignShape { shape, remedy })
}

fn gemini(object: &Map<String, Value>, contents: &[Value]) -> Result<Filter, Obstacle> {
    let is_given = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
    if is_given("tools") {
        return Err(Obstacle::Tools);
    }
    alone(object, &[], Filter::gemini(&Turns::of(contents)?))
}

fn asked(object: &Map<String, Value>, exchange: Exchange) -> Result<Filter, Obstacle> {
    let Exchange { question, answer } = exchange;
    texts(object, &[question, answer])?;
    let is_pair = |entry: &Value| {
        entry.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string))
    };
    match object.get("history") {
        None | Some(Value::Null) => {}
        Some(Value::Array(history)) if history.iter().all(is_pair) => {}
        Some(_) => return Err(Obstacle::History),
    }
    alone(object, &[question, answer], Filter::asked(exchange))
}

fn preference(object: &Map<String, Value>) -> Result<Filter, Obstacle> {
    let question = QUESTIONS.into_iter().find(|key| object.get(*key).is_some_and(Value::is_string));
    let turns = ["prompt"].into_iter().chain(TURNS).find_map(|key| Some((key, list(object, key)?)));
    let asked = match (question, turns) {
        (Some(key), None) => Some(Asked::Text(key)),
        (None, Some((key, items))) => Some(Asked::Turns(key, Named::of(items)?)),
        (None, None) => None,
        (Some(key), Some(_)) => return Err(Obstacle::Besides(key)),
    };
    texts(object, &[])?;
    let used: Vec<_> = asked.iter().map(Asked::key).collect();
    let is_bare = !has_system(object) && ABOUT.into_iter().all(|about| !object.contains_key(about));
    let filter = match object.get("chosen") {
        Some(Value::String(text)) => match asked {
            Some(Asked::Text("prompt")) if is_bare => Filter::chosen_text("prompt"),
            Some(_) => Filter::chosen(asked.as_ref(), &Chosen::Text),
            None if text.starts_with("\n\nHuman:") => Filter::chosen_dialogue(),
            None => return Err(Obstacle::NoQuestion),
        },
        Some(turn @ Value::Object(_)) => {
            let named = Named::of(std::slice::from_ref(turn))?;
            let asked = asked.ok_or(Obstacle::NoQuestion)?;
            Filter::chosen(Some(&asked), &Chosen::Turn(named))
        }
        Some(Value::Array(items)) => {
            let Turns::Named(named) = Turns::of(items)? else { return Err(Obstacle::Turns) };
            let asks = |item: &&Value| named.role(item) == Some("user");
            match (items.iter().find(asks), question, turns) {
                (None, None, None) => return Err(Obstacle::NoQuestion),
                (Some(first), Some(key), _) if first.get(named.what) != object.get(key) => {
                    return Err(Obstacle::OtherQuestion);
                }
                (Some(_), _, Some((_, asked))) if !items.starts_with(asked) => {
                    return Err(Obstacle::OtherQuestion);
                }
                _ => Filter::chosen(asked.as_ref(), &Chosen::Turns(named)),
            }
        }
        _ => return Err(Obstacle::NotText("chosen")),
    };
    alone(object, &used, filter)
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a [Value]> {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).filter(|items| !items.is_empty())
}

fn has_system(object: &Map<String, Value>) -> bool {
    let is_given = |value: &Value| match value {
        Value::String(text) => !text.is_empty(),
        // Anthropic's is a list of parts.
        Value::Array(parts) => !parts.is_empty(),
        _ => false,
    };
    SYSTEM_KEYS.iter().any(|key| object.get(*key).is_some_and(is_given))
}

/// Whether the turns begin with the very text that stands beside them.
fn repeats_system(object: &Map<String, Value>, turns: &[Value]) -> bool {
    let first = turns.first().filter(|turn| turn.get("role").is_some_and(|role| role == "system"));
    let beside = SYSTEM_KEYS.into_iter().filter_map(|key| object.get(key));
    first
        .and_then(|first| first.get("content"))
        .is_some_and(|text| beside.into_iter().all(|beside| beside == text))
}

/// Checks that these keys have texts, and so those that belong to a question if they are there.
fn texts(object: &Map<String, Value>, keys: &[&'static str]) -> Result<(), Obstacle> {
    let is_no_text = |key: &&str| object.get(*key).is_some_and(|value| !value.is_string());
    let is_more = |key: &&str| object.get(*key).is_some_and(|value| !value.is_string() && !value.is_null());
    let no_text = keys.iter().find(|key| is_no_text(key)).or(ABOUT.iter().find(|key| is_more(key)));
    no_text.map_or(Ok(()), |key| Err(Obstacle::NotText(key)))
}

/// The filter, if no key that has a meaning here stays behind it.
fn alone(object: &Map<String, Value>, used: &[&str], filter: Filter) -> Result<Filter, Obstacle> {
    let stays = |key: &&str| object.contains_key(*key) && !used.contains(key);
    ["prompt", "text", "input_ids"]
        .into_iter()
        .find(stays)
        .map_or(Ok(filter), |key| Err(Obstacle::Besides(key)))
}

impl std::error::Error for ForeignShape {}

impl fmt::Display for ForeignShape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "the shape is {}; ", self.shape)?;
        match &self.remedy {
            Ok(filter) => write!(formatter, "jq -c '{filter}' FILE > NEW.jsonl converts it"),
            Err(obstacle) => write!(formatter, "no command converts it: {obstacle}"),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::Turns { key, turns: None } => write!(formatter, "that of a conversation ({{{key:?}: [...]}})"),
            Self::Turns { key, turns: Some(Turns::Named(Named { is_ours: true, .. })) } => {
                write!(formatter, "that of {{\"messages\"}} under another name, {key:?}")
            }
            Self::Turns { key, turns: Some(Turns::Named(Named { who, what, .. })) } => {
                let whose = match (who, what) {
                    ("from", "value") => "ShareGPT's",
                    _ => "that of {\"messages\"} with other names",
                };
                write!(formatter, "{whose} ({{{key:?}: [{{{who:?}, {what:?}}}]}})")
            }
            Self::Turns { key, turns: Some(Turns::Exchanges(Exchange { question, answer })) } => {
                write!(formatter, "that of questions and their answers ({{{key:?}: [{{{question:?}, {answer:?}}}]}})")
            }
            Self::Gemini => formatter.write_str("Gemini's ({\"contents\": [{\"role\", \"parts\"}]})"),
            Self::SystemBeside => formatter.write_str("Anthropic's, with the system text beside \"messages\""),
            Self::Exchange(Exchange { question: "instruction", answer: "output" }) => {
                formatter.write_str("Alpaca's ({\"instruction\", \"input\", \"output\"})")
            }
            Self::Exchange(Exchange { question: "instruction", answer: "response" }) => {
                formatter.write_str("Dolly's ({\"instruction\", \"context\", \"response\"})")
            }
            Self::Exchange(Exchange { question: "prompt", answer: "completion" }) => {
                formatter.write_str("that of {\"prompt\", \"completion\"} with a system text, which only conversations have")
            }
            Self::Exchange(Exchange { question, answer }) => {
                write!(formatter, "a question and its answer ({{{question:?}, {answer:?}}})")
            }
            Self::Preference => formatter.write_str(
                "that of preferences ({\"chosen\", \"rejected\"}), of which only what was chosen can be learned",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
