//! The chat template of a GGUF file, rendered by minijinja with the functions that templates in the wild use.

use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};
use serde_json::Value as Json;

use super::conversation::{Message, Variables};
use super::date::Date;
use super::tokenizer::Tokenizer;
use crate::error::{TemplateFault, Unlogged};
use crate::gguf::Metadata;
use crate::{Error, Result};

/// Instructions that a template may execute for one rendering: far more than any conversation needs, and
/// an end for a template that loops.
const FUEL: u64 = 50_000_000;
/// Bytes that a template may have.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// A chat template, and what it takes for today.
#[derive(Debug)]
pub struct ChatTemplate {
    /// Why it does not parse, otherwise, which only those learn who render with it.
    parsed: Result<Environment<'static>, Failure>,
    bos: String,
    eos: String,
}

/// Why a template gave no text.
#[derive(Debug, Clone)]
struct Failure {
    fault: TemplateFault,
    line: Option<usize>,
    words: Unlogged,
}

impl ChatTemplate {
    /// The file's template; `None` if it has none. For one that cannot be parsed, [`render`](Self::render) says so. It
    /// takes `date` for now.
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer, date: Date) -> Option<Self> {
        let text = |id: Option<u32>| {
            id.map_or_else(String::new, |id| String::from_utf8_lossy(&tokenizer.piece(id)).into_owned())
        };
        let source = metadata.string("tokenizer.chat_template")?;
        if source.trim().is_empty() {
            return None;
        }
        let parsed = parse(source, date);
        Some(Self { parsed, bos: text(tokenizer.bos()), eos: text(tokenizer.eos()) })
    }

    /// Parses a template that may use `bos` and `eos`, the texts of those tokens. It takes the present for now.
    ///
    /// # Errors
    /// [`Error::Rendering`] if the template cannot be parsed.
    pub fn new(source: &str, bos: impl Into<String>, eos: impl Into<String>) -> Result<Self> {
        let parsed = Ok(parse(source, Date::now())?);
        Ok(Self { parsed, bos: bos.into(), eos: eos.into() })
    }

    /// Changes what the template takes for now.
    pub fn set_date(&mut self, date: Date) {
        if let Ok(environment) = &mut self.parsed {
            tell(environment, date);
        }
    }

    /// Whether it can be rendered at all.
    ///
    /// # Errors
    /// [`Error::Rendering`] if it does not parse.
    pub fn check(&self) -> Result<()> {
        self.environment().map(drop)
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the model is to answer. `variables` are
    /// what the template may look at besides, such as `tools`.
    ///
    /// # Errors
    /// [`Error::Rendering`] if the template does not parse, or refuses the conversation, for instance for the order of
    /// its roles.
    pub fn render(
        &self,
        messages: &[Message],
        variables: &Variables,
        add_generation_prompt: bool,
    ) -> Result<String> {
        // What Hugging Face passes as none where it is not given.
        let mut given: Variables =
            ["tools", "documents"].map(|key| (key.to_owned(), Json::Null)).into_iter().collect();
        given.extend(variables.clone());
        let context = context! {
            messages => messages,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos,
            eos_token => self.eos,
            ..Value::from_serialize(given)
        };
        let template = self.environment()?.get_template(NAME);
        let rendered = template.and_then(|template| template.render(context));
        rendered.map_err(|error| Failure::of(&error, TemplateFault::Failure).into())
    }

    fn environment(&self) -> Result<&Environment<'static>> {
        self.parsed.as_ref().map_err(|failure| failure.clone().into())
    }
}

/// The template's name in its environment.
const NAME: &str = "chat";

fn parse(source: &str, date: Date) -> Result<Environment<'static>, Failure> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(Failure { fault: TemplateFault::TooLong, line: None, words: Unlogged::default() });
    }
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", to_json);
    tell(&mut environment, date);
    environment
        .add_template_owned(NAME, without_generation_tags(source))
        .map_err(|error| Failure::of(&error, TemplateFault::Unparsable))?;
    Ok(environment)
}

/// Sets what `strftime_now` formats.
fn tell(environment: &mut Environment<'static>, date: Date) {
    environment.add_function("strftime_now", move |format: &str| date.strftime(format));
}

impl Failure {
    /// Never has the template's source, which can be long.
    fn of(error: &minijinja::Error, fault: TemplateFault) -> Self {
        let raised = std::error::Error::source(error).is_some_and(|source| source.is::<Raised>());
        let fault = if raised { TemplateFault::Refusal } else { fault };
        let words = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        Self { fault, line: error.line(), words: Unlogged::new(words) }
    }
}

impl From<Failure> for Error {
    fn from(Failure { fault, line, words }: Failure) -> Self {
        Self::Rendering { fault, line, words }
    }
}

/// Marks the errors that a template raises on purpose.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
struct Raised;

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
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
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
