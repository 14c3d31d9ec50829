//! Generating text with llama.cpp, with or without an adapter.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nightgraft_store::Graft;
use nightgraft_text::Error as TextError;
use nightgraft_text::{Date, Message, TemplateProblem, Tokenizer, Variables};
use serde::Serialize;

use super::inputs::{self, Inputs};
use super::notice::Notice;
use super::{StopFlag, adapter};
use crate::config;
use crate::error::{AdapterProblem, Allowed};
use crate::generate::{Generator, Sampling};
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
    /// The seed of the random choices at temperatures above 0.
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
    /// What a person should know of the adapter, in words.
    pub warnings: Vec<String>,
}

/// Generates; calls `on_text` with each new piece of text. A raised stop flag ends the text early.
///
/// # Errors
/// Those of [`Chat`].
pub fn generate(
    request: &GenerateRequest,
    stop: &StopFlag,
    on_text: &mut dyn FnMut(&str),
) -> Result<GenerateReport> {
    let &GenerateRequest { max_tokens, temperature, seed, threads, .. } = request;
    let sampling = Sampling { max_tokens, temperature, seed };
    check(&sampling)?;
    let mut chat = Chat::open(&request.model, threads)?;
    let mut notice = None;
    if let Some(adapter) = &request.adapter {
        let (tensors, other_base) = adapter::read_with_notice(adapter, &chat.inputs.base)?;
        chat.generator.set_adapter(Some(&tensors), &chat.inputs.base)?;
        notice = other_base;
    }
    let mut on_text = |piece: &str| {
        on_text(piece);
        !stop.is_raised()
    };
    let report = if request.chat {
        let user = Message::new("user", request.prompt.as_str());
        chat.answer(&[user], &sampling, &mut on_text)
    } else {
        chat.complete(&request.prompt, &sampling, &mut on_text)
    };
    Ok(GenerateReport { warnings: Notice::words(&notice), ..report? })
}

/// A model that is loaded once and then answers, with or without an adapter, again and again.
pub struct Chat {
    inputs: Inputs,
    generator: Generator,
}

impl Chat {
    /// Loads the model; `threads` as in [`GenerateRequest`].
    ///
    /// # Errors
    /// Any of [`Error`]'s for unusable files; [`Error::Generate`] if llama.cpp refuses it; [`Error::ModelChanged`] from
    /// now on, in each call that uses the model, if its file is changed, replaced or removed.
    pub fn open(model: &Path, threads: Option<usize>) -> Result<Self> {
        let inputs = Inputs::open(model, Date::now())?;
        let generator = Generator::open(&inputs.base, inputs::threads(threads))?;
        Ok(Self { inputs, generator })
    }

    /// From now on the base itself answers.
    ///
    /// # Errors
    /// None that is known of.
    pub fn use_base(&mut self) -> Result<()> {
        self.generator.set_adapter_file(None)
    }

    /// From now on the base answers with this adapter, a PEFT folder or GGUF file. The model stays loaded.
    ///
    /// # Errors
    /// [`Error::Adapter`] if it cannot be read, does not fit or says that it was trained on another model: then
    /// nothing has changed; [`Error::Generate`] if
    /// llama.cpp refuses it: then the base itself answers.
    pub fn use_adapter(&mut self, path: &Path) -> Result<()> {
        let tensors = adapter::read_or_refuse(path, &self.inputs.base)?;
        self.generator.set_adapter(Some(&tensors), &self.inputs.base)
    }

    /// From now on the base answers with this graft. Nothing of it is written to a disk.
    ///
    /// # Errors
    /// [`Error::Adapter`] if it was trained on another base; [`Error::Generate`].
    pub fn use_graft(&mut self, graft: &Graft) -> Result<()> {
        let base = &self.inputs.base;
        if graft.meta.base != *base.fingerprint() {
            let path = PathBuf::from(format!("graft {}", graft.meta.id));
            let problem = AdapterProblem::GraftOfOther { model: base.file().path().to_owned() };
            return Err(Error::adapter(&path, problem));
        }
        self.generator.set_adapter(Some(&graft.adapter), base)
    }

    /// What the assistant says next, today; `on_text` gets each new piece of it and returns whether to go on.
    ///
    /// # Errors
    /// [`TextError::Template`] if the model has no chat template, [`TextError::Rendering`] if this one refuses the turns; [`Error::Config`] for a
    /// temperature below 0; [`Error::Generate`] if the turns and the answer are longer than the model's context.
    pub fn answer(
        &mut self,
        turns: &[Message],
        sampling: &Sampling,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<GenerateReport> {
        let template = self.inputs.template.as_mut();
        let template = template.ok_or(TextError::Template { problem: TemplateProblem::Missing })?;
        template.set_date(Date::now());
        let text = template.render(turns, &Variables::new(), true)?;
        let prompt = self.inputs.tokenizer.encode_with_bos(&text, true)?;
        self.run(&prompt, sampling, on_text)
    }

    /// How `prompt` goes on; `on_text` as in [`answer`](Self::answer).
    ///
    /// # Errors
    /// [`Error::Generate`], [`Error::Config`], as above.
    pub fn complete(
        &mut self,
        prompt: &str,
        sampling: &Sampling,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<GenerateReport> {
        let prompt = self.inputs.tokenizer.encode_with_bos(prompt, false)?;
        self.run(&prompt, sampling, on_text)
    }

    fn run(
        &mut self,
        prompt: &[u32],
        sampling: &Sampling,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<GenerateReport> {
        check(sampling)?;
        let tokenizer = &self.inputs.tokenizer;
        let started = Instant::now();
        let mut text = String::new();
        let mut stream = TextStream { tokenizer, decoder: Utf8Decoder::default() };
        let tokens = self.generator.generate(
            prompt,
            sampling,
            |id| tokenizer.is_end_of_generation(id),
            |id| {
                let piece = stream.push(id);
                text.push_str(&piece);
                on_text(&piece)
            },
        )?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(GenerateReport { text, tokens, prompt_tokens: prompt.len(), seconds, warnings: Vec::new() })
    }
}

fn check(sampling: &Sampling) -> Result<()> {
    config::check("--temperature", config::decimal(sampling.temperature), Allowed::Temperature)
}

/// Tokens to text: a character may be spread over several tokens, so bytes wait until they are whole.
struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    decoder: Utf8Decoder,
}

impl TextStream<'_> {
    /// The text that is complete after one more token.
    fn push(&mut self, id: u32) -> String {
        self.decoder.push(&self.tokenizer.piece(id))
    }
}

/// Bytes that come in pieces, as characters. A character that never becomes whole, because the text ends in the middle of
/// it, is never given out.
#[derive(Default)]
struct Utf8Decoder {
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Utf8Decoder {
    /// The characters that are whole after some more bytes. Bytes that no continuation can make valid are shown as
    /// replacements.
    fn push(&mut self, bytes: &[u8]) -> String {
        self.begun.extend(bytes);
        let mut text = String::new();
        let mut rest = self.begun.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, others) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(n_invalid) = error.error_len() else {
                rest = others;
                break;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &others[n_invalid..];
        }
        self.begun = rest.to_vec();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of these pieces, piece by piece.
    fn pushed(pieces: &[&[u8]]) -> Vec<String> {
        let mut decoder = Utf8Decoder::default();
        pieces.iter().map(|piece| decoder.push(piece)).collect()
    }

    #[test]
    fn characters_wait_until_they_are_whole() {
        assert_eq!(pushed(&[b"a\xe2\x82", b"\xac b"]), ["a", "\u{20ac} b"]);
        assert_eq!(pushed(&[b"\xf0", b"\x9f", b"\x99", b"\x82"]), ["", "", "", "\u{1f642}"]);
    }

    #[test]
    fn half_a_character_at_the_end_is_not_given_out() {
        assert_eq!(pushed(&[b"so \xf0\x9f"]), ["so "]);
        // Nor one behind bytes that are no text at all.
        assert_eq!(pushed(&[b"\xffa\xe2\x82"]), ["\u{fffd}a"]);
    }

    #[test]
    fn bytes_that_cannot_become_text_are_replaced_at_once() {
        assert_eq!(pushed(&[b"\xe2", b"a\xff", b"b"]), ["", "\u{fffd}a\u{fffd}", "b"]);
    }
}
