//! The chat template of a GGUF file, rendered by minijinja with the functions that templates in the wild use.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use super::tokenizer::Tokenizer;
use crate::gguf::Metadata;
use crate::{Error, Result};

/// Instructions that a template may execute for one rendering: far more than any conversation needs, and
/// an end for a template that loops.
const FUEL: u64 = 50_000_000;
/// Bytes that a template may have.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A chat template, parsed.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The file's template; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Template`] if the template cannot be parsed.
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let text = |id: Option<u32>| {
            id.map_or_else(String::new, |id| String::from_utf8_lossy(&tokenizer.piece(id)).into_owned())
        };
        metadata
            .string("tokenizer.chat_template")
            .filter(|source| !source.trim().is_empty())
            .map(|source| Self::new(source, text(tokenizer.bos()), text(tokenizer.eos())))
            .transpose()
    }

    /// Parses a template that may use `bos` and `eos`, the texts of those tokens.
    ///
    /// # Errors
    /// [`Error::Template`] if the template cannot be parsed.
    pub fn new(source: &str, bos: impl Into<String>, eos: impl Into<String>) -> Result<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(Error::Template {
                problem: format!("it has {} bytes, at most 1 MiB is read", source.len()),
            });
        }
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("chat", without_generation_tags(source)).map_err(|error| {
            Error::Template { problem: format!("it does not parse: {}", explain(&error)) }
        })?;
        Ok(Self { environment, bos: bos.into(), eos: eos.into() })
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the model is to answer.
    ///
    /// # Errors
    /// [`Error::Template`] if the template refuses the conversation, for instance for the order of its roles.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let template = self
            .environment
            .get_template("chat")
            .map_err(|error| Error::Template { problem: explain(&error) })?;
        let none = Value::from(());
        let context = context! {
            messages => messages,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos,
            eos_token => self.eos,
            tools => none,
            documents => none,
        };
        template.render(context).map_err(|error| Error::Template { problem: explain(&error) })
    }
}

/// The reason, with the line of the template; never its source, which can be long.
fn explain(error: &minijinja::Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line} of the template)"));
    match error.detail() {
        Some(detail) => format!("{detail}{line}"),
        None => format!("{}{line}", error.kind()),
    }
}

/// `{% generation %}` marks the answers for Hugging Face's trainers; it renders to nothing.
fn without_generation_tags(source: &str) -> String {
    let mut rest = source;
    let mut replaced = String::with_capacity(source.len());
    while let Some((before, tag)) = rest.split_once("{%") {
        replaced.push_str(before);
        replaced.push_str("{%");
        let Some((inside, after)) = tag.split_once("%}") else {
            rest = tag;
            continue;
        };
        let inside =
            match inside.trim_matches(|char: char| char.is_whitespace() || char == '-' || char == '+') {
                "generation" => inside.replace("generation", "if true"),
                "endgeneration" => inside.replace("endgeneration", "endif"),
                _ => inside.to_owned(),
            };
        replaced.push_str(&inside);
        replaced.push_str("%}");
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// Today (UTC) in the given format: the day fields that templates use.
fn strftime_now(format: &str) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    strftime(format, seconds)
}

/// `format` for a moment in seconds since 1970 (UTC).
fn strftime(format: &str, seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let days = seconds / 86_400;
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (month_name, day_name) = (MONTHS[month - 1], DAYS[(days % 7) as usize]);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            text.push(char);
            continue;
        }
        let mut field = chars.next();
        let unpadded = field == Some('-');
        if unpadded {
            field = chars.next();
        }
        let number = |value: u64| if unpadded { value.to_string() } else { format!("{value:02}") };
        match field {
            Some('Y') => text += &year.to_string(),
            Some('y') => text += &number(year % 100),
            Some('m') => text += &number(month as u64),
            Some('d') => text += &number(day),
            Some('B') => text += month_name,
            Some('b') => text += &month_name[..3],
            Some('A') => text += day_name,
            Some('a') => text += &day_name[..3],
            Some('H') => text += &number(hour),
            Some('M') => text += &number(minute),
            Some('S') => text += &number(second),
            Some('F') => text += &format!("{year}-{month:02}-{day:02}"),
            Some('T') => text += &format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
            None => text.push('%'),
        }
    }
    text
}

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil_date(mut days: u64) -> (u64, usize, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970 + days / 146_097 * 400; // 400 years have 146,097 days
    days %= 146_097;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`: templates were written for it.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let json = serde_json::to_value(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut text = String::new();
    write_json(&json, indent.map(|indent| indent.min(16)), 0, &mut text);
    Ok(Value::from_safe_string(text))
}

fn write_json(value: &serde_json::Value, indent: Option<usize>, depth: usize, text: &mut String) {
    let mut entries = |open: char, close: char, items: Vec<(Option<&String>, &serde_json::Value)>| {
        text.push(open);
        for (index, (key, item)) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(if indent.is_some() { "," } else { ", " });
            }
            break_line(indent, depth + 1, text);
            if let Some(key) = key {
                text.push_str(&format!("{}: ", serde_json::Value::from(key.as_str())));
            }
            write_json(item, indent, depth + 1, text);
        }
        if !items.is_empty() {
            break_line(indent, depth, text);
        }
        text.push(close);
    };
    match value {
        serde_json::Value::Array(items) => entries('[', ']', items.iter().map(|item| (None, item)).collect()),
        serde_json::Value::Object(items) => {
            entries('{', '}', items.iter().map(|(key, item)| (Some(key), item)).collect());
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

fn break_line(indent: Option<usize>, depth: usize, text: &mut String) {
    if let Some(indent) = indent {
        text.push('\n');
        text.push_str(&" ".repeat(indent * depth));
    }
}

#[cfg(test)]
mod tests;
