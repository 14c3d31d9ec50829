//! Showing how a model sees a text.

use std::path::Path;

use nightgraft_text::Tokenizer;
use serde::Serialize;

use crate::Result;
use crate::model_file::ModelFile;

/// How to tokenize.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizeOptions {
    /// Whether the text of a special token becomes that token.
    pub special: bool,
    /// Whether the beginning-of-sequence token is added where the model wants one.
    pub bos: bool,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenPiece {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its text; incomplete characters are shown as `\u{fffd}`.
    pub text: String,
}

/// The tokens of `text` in the vocabulary of a GGUF file (of any architecture).
///
/// # Errors
/// Those of [`Tokens`].
pub fn tokenize(model: &Path, text: &str, options: &TokenizeOptions) -> Result<Vec<TokenPiece>> {
    Tokens::open(model)?.of(text, options)
}

/// A model's vocabulary, for many texts.
pub struct Tokens {
    tokenizer: Tokenizer,
}

impl Tokens {
    /// Reads the vocabulary of a GGUF file (of any architecture).
    ///
    /// # Errors
    /// [`crate::Error::Gguf`] or [`Tokenizer`](nightgraft_text::Error::Tokenizer) if there is no usable one.
    pub fn open(model: &Path) -> Result<Self> {
        let file = ModelFile::open(model)?;
        Ok(Self { tokenizer: Tokenizer::from_gguf(file.metadata())? })
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// [`Tokenizer`](nightgraft_text::Error::Tokenizer) if it cannot be encoded.
    pub fn of(&self, text: &str, options: &TokenizeOptions) -> Result<Vec<TokenPiece>> {
        let tokenizer = &self.tokenizer;
        let ids = if options.bos {
            tokenizer.encode_with_bos(text, options.special)?
        } else {
            tokenizer.encode(text, options.special)?
        };
        Ok(ids
            .into_iter()
            .map(|id| {
                let text = String::from_utf8_lossy(&tokenizer.piece(id)).into_owned();
                TokenPiece { id, text }
            })
            .collect())
    }
}
