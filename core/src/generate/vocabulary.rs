//! llama.cpp's own tokenizer: the oracle for ours.

use std::path::Path;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use super::{backend, refused};
use crate::Result;

/// The vocabulary of a GGUF file as llama.cpp reads it, without the tensors.
pub struct Vocabulary {
    model: LlamaModel,
}

impl Vocabulary {
    /// Loads the vocabulary of a file that [`nightgraft_text::Tokenizer`] accepts.
    ///
    /// # Errors
    /// [`crate::Error::Generate`] if llama.cpp refuses it.
    pub fn open(model: &Path) -> Result<Self> {
        nightgraft_ggml::route_log_to_tracing();
        let params = LlamaModelParams::default().with_vocab_only(true);
        let model = LlamaModel::load_from_file(backend()?, model, &params)
            .map_err(|error| refused("loading the vocabulary", error))?;
        Ok(Self { model })
    }

    /// The ids of `text`; with `add_special`, BOS and EOS as the file wants them.
    pub fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), add_special, parse_special);
        tokens.into_iter().map(|token| token.0.cast_unsigned()).collect()
    }

    /// Whether llama.cpp ends a generation at this token.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.model.vocab().is_eog(llama_cpp_2::token::LlamaToken(id.cast_signed()))
    }
}
