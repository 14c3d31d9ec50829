//! The chat template of a GGUF file, rendered as Hugging Face's libraries render it.

mod arguments;
mod filters;
mod jinja;
mod json;
mod methods;
#[cfg(test)]
mod oracle;
mod predicates;
mod python;
mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use nightgraft_gguf::Metadata;
use serde_json::Value as Json;

use super::conversation::{Message, Variables};
use super::date::Date;
use super::tokenizer::Tokenizer;
use crate::error::{TemplateFault, Unlogged};
use crate::{Error, Result};

/// Bytes that a template may have.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// A chat template, and what it takes for today.
#[derive(Debug)]
pub struct ChatTemplate {
    /// Why it does not parse, otherwise, which only those learn who render with it.
    parsed: Result<Environment<'static>, Failure>,
    bos: String,
    eos: String,
    /// Raised when a text is made that depends on the date.
    asked_for_date: Arc<AtomicBool>,
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
        let asked_for_date = Arc::default();
        let parsed = parse(source, date, &asked_for_date);
        Some(Self { parsed, bos: text(tokenizer.bos()), eos: text(tokenizer.eos()), asked_for_date })
    }

    /// Parses a template that may use `bos` and `eos`, the texts of those tokens. It takes the present for now.
    ///
    /// # Errors
    /// [`Error::Rendering`] if the template cannot be parsed.
    pub fn new(source: &str, bos: impl Into<String>, eos: impl Into<String>) -> Result<Self> {
        let asked_for_date = Arc::default();
        let parsed = Ok(parse(source, Date::now(), &asked_for_date)?);
        Ok(Self { parsed, bos: bos.into(), eos: eos.into(), asked_for_date })
    }

    /// Changes what the template takes for now.
    pub fn set_date(&mut self, date: Date) {
        if let Ok(environment) = &mut self.parsed {
            tell(environment, date, &self.asked_for_date);
        }
    }

    /// Whether any text so far may depend on the date.
    pub fn has_asked_for_the_date(&self) -> bool {
        self.asked_for_date.load(Ordering::Relaxed)
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
            messages => Serde(messages),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            ..Value::from(Serde(given))
        };
        self.write(context)
    }

    /// What the template writes with these variables.
    fn write(&self, variables: Value) -> Result<String> {
        let template = self.environment()?.get_template(jinja::NAME);
        let written = template.and_then(|template| template.render(variables));
        written.map_err(|error| Failure::of(&error, TemplateFault::Failure).into())
    }

    fn environment(&self) -> Result<&Environment<'static>> {
        self.parsed.as_ref().map_err(|failure| failure.clone().into())
    }
}

fn parse(source: &str, date: Date, asked: &Arc<AtomicBool>) -> Result<Environment<'static>, Failure> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(Failure { fault: TemplateFault::TooLong, line: None, words: Unlogged::default() });
    }
    let mut environment =
        jinja::environment(source).map_err(|error| Failure::of(&error, TemplateFault::Unparsable))?;
    tell(&mut environment, date, asked);
    Ok(environment)
}

/// Sets what `strftime_now` formats, which raises the flag.
fn tell(environment: &mut Environment<'static>, date: Date, asked: &Arc<AtomicBool>) {
    let asked = asked.clone();
    environment.add_function("strftime_now", move |format: &str| {
        asked.store(true, Ordering::Relaxed);
        date.strftime(format)
    });
}

impl Failure {
    /// Never has the template's source, which can be long.
    fn of(error: &minijinja::Error, fault: TemplateFault) -> Self {
        let raised = std::error::Error::source(error).is_some_and(|source| source.is::<jinja::Raised>());
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

#[cfg(test)]
mod tests;
