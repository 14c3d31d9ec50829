//! Generating text with llama.cpp, with or without an adapter.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::StopFlag;
use super::inputs::{Inputs, threads};
use crate::export::{read_adapter, write_gguf_adapter};
use crate::generate::{Generator, Sampling};
use crate::text::{Message, Tokenizer};
use crate::{Error, Result};

/// What to generate.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// A PEFT folder or GGUF adapter.
    pub adapter: Option<PathBuf>,
    /// The text to continue, or with `chat` what the user says.
    pub prompt: String,
    /// Render the prompt with the model's chat template.
    pub chat: bool,
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// For temperatures above 0.
    pub seed: u32,
    /// 0 takes the most likely token always.
    pub temperature: f32,
    /// Threads; none means one for each core.
    pub threads: Option<usize>,
}

/// What was generated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerateReport {
    /// The new text.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// Tokens of the prompt, template and all.
    pub prompt_tokens: usize,
    /// Wall-clock time, loading not counted.
    pub seconds: f64,
}

/// Generates; calls `on_text` with each new piece of text. A raised stop flag ends the text early.
///
/// # Errors
/// Any of [`Error`]'s for unusable files; [`Error::Template`] if `chat` is asked of a model without one.
pub fn generate(
    request: &GenerateRequest,
    stop: &StopFlag,
    on_text: &mut dyn FnMut(&str),
) -> Result<GenerateReport> {
    if !(request.temperature >= 0.0 && request.temperature.is_finite()) {
        let problem = format!("{} is not a temperature: give 0 or more", request.temperature);
        return Err(Error::Config { option: "--temperature", problem });
    }
    let Inputs { base, tokenizer, template } = Inputs::open(&request.model)?;
    let scratch = tempfile::tempdir().map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
    let adapter = match &request.adapter {
        Some(path) => Some(as_gguf(path, &base, scratch.path())?),
        None => None,
    };
    let prompt = if request.chat {
        let template = template.ok_or_else(|| Error::Template {
            problem: "this model has none: leave out --chat, or use an instruction-tuned model".into(),
        })?;
        let user = Message { role: "user".into(), content: request.prompt.clone() };
        tokenizer.encode_with_bos(&template.render(&[user], true)?, true)?
    } else {
        tokenizer.encode_with_bos(&request.prompt, false)?
    };

    let mut generator = Generator::open(&request.model, adapter.as_deref(), threads(request.threads))?;
    let sampling =
        Sampling { max_tokens: request.max_tokens, temperature: request.temperature, seed: request.seed };
    let started = Instant::now();
    let mut text = String::new();
    let mut stream = TextStream { tokenizer: &tokenizer, bytes: Vec::new() };
    let mut pass_on = |piece: &str| {
        text.push_str(piece);
        on_text(piece);
    };
    let tokens = generator.generate(
        &prompt,
        &sampling,
        |id| tokenizer.is_end_of_generation(id),
        |id| {
            pass_on(&stream.push(id));
            !stop.is_raised()
        },
    )?;
    pass_on(&stream.finish());
    let seconds = started.elapsed().as_secs_f64();
    Ok(GenerateReport { text, tokens, prompt_tokens: prompt.len(), seconds })
}

/// The adapter as a GGUF file for llama.cpp, written anew whatever it was: so llama.cpp only reads what our own reader
/// has accepted and our own writer has made.
fn as_gguf(path: &Path, base: &crate::base::Base, scratch: &Path) -> Result<PathBuf> {
    let tensors = read_adapter(path, base)?;
    let converted = scratch.join("adapter.gguf");
    write_gguf_adapter(&converted, &tensors, base)?;
    Ok(converted)
}

/// Tokens to text: a character may be spread over several tokens, so bytes wait until they are whole.
struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    bytes: Vec<u8>,
}

impl TextStream<'_> {
    /// The text that is complete after one more token.
    fn push(&mut self, id: u32) -> String {
        self.bytes.extend(self.tokenizer.piece(id));
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            // Bytes that no continuation can make valid are passed on, to be shown as replacements.
            Err(error) if error.error_len().is_some() => self.bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.bytes.split_off(whole);
        String::from_utf8_lossy(&std::mem::replace(&mut self.bytes, rest)).into_owned()
    }

    /// What is left at the end.
    fn finish(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
