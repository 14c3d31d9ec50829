//! The base model.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nightgraft_core::Error;
use nightgraft_core::session::{self, TokenizeOptions, Tokens};

use crate::error::{NightgraftError, Result};
use crate::executor::READING_EXECUTOR;

/// A GGUF model file. It is checked when it is opened, and read only by those who work with it.
#[derive(uniffi::Object)]
pub struct BaseModel {
    info: ModelInfo,
    path: PathBuf,
    /// Made when first needed.
    tokens: Arc<Mutex<Option<Tokens>>>,
}

/// A model file in a few figures.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ModelInfo {
    /// The file.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The family, such as `llama` or `qwen2`.
    pub architecture: String,
    /// The name that the file gives itself.
    pub name: Option<String>,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Transformer blocks, if the architecture is known.
    pub layers: Option<u32>,
    /// Tokens that the model was made for.
    pub context: Option<u32>,
    /// Tokens of the vocabulary.
    pub vocabulary: Option<u32>,
    /// Whether it can answer in conversations.
    pub has_chat_template: bool,
    /// Identifies the base: grafts belong to one.
    pub fingerprint: String,
    /// Why it cannot be trained; none if it can.
    pub not_trainable: Option<String>,
}

/// One token of a text.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its text; incomplete characters are shown as U+FFFD.
    pub text: String,
}

#[uniffi::export]
impl BaseModel {
    /// Opens and checks a GGUF file.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidModel`] if it is missing or not a well-formed GGUF. One that cannot be trained is no
    /// error here; see [`ModelInfo::not_trainable`].
    #[uniffi::constructor]
    pub async fn open(path: String) -> Result<Arc<Self>> {
        READING_EXECUTOR
            .run(move || {
                let info = session::inspect(Path::new(&path)).map_err(invalid)?;
                let small = |n: Option<usize>| n.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                let path = info.path;
                let info = ModelInfo {
                    path: path.display().to_string(),
                    bytes: info.bytes,
                    architecture: info.architecture,
                    name: info.name,
                    parameters: info.parameters,
                    layers: small(info.n_layer),
                    context: small(info.n_ctx_train),
                    vocabulary: small(info.n_vocab),
                    has_chat_template: info.chat_template,
                    fingerprint: info.fingerprint,
                    not_trainable: info.not_trainable,
                };
                Ok(Arc::new(Self { info, path, tokens: Arc::default() }))
            })
            .await
    }

    /// What is in the file.
    pub fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    /// The tokens of a text. Markers of special tokens in it are taken as ordinary text.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidModel`] if the vocabulary cannot be used.
    pub async fn tokenize(&self, text: String) -> Result<Vec<Token>> {
        let (path, tokens) = (self.path.clone(), self.tokens.clone());
        READING_EXECUTOR
            .run(move || {
                let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
                let tokens = match &*tokens {
                    Some(tokens) => tokens,
                    None => tokens.insert(Tokens::open(&path).map_err(invalid)?),
                };
                let pieces = tokens.of(&text, &TokenizeOptions::default())?;
                Ok(pieces.into_iter().map(|piece| Token { id: piece.id, text: piece.text }).collect())
            })
            .await
    }
}

impl BaseModel {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a model that cannot be trained.
    pub(crate) fn check_trainable(&self) -> Result<()> {
        let reason = |why: &String| NightgraftError::InvalidModel { reason: why.clone() };
        self.info.not_trainable.as_ref().map_or(Ok(()), |why| Err(reason(why)))
    }
}

/// A file that is missing or unreadable is no usable model either.
pub(crate) fn invalid(error: Error) -> NightgraftError {
    match error {
        Error::Io(_) | Error::Ggml(_) => {
            NightgraftError::InvalidModel { reason: crate::error::one_line(&error) }
        }
        error => error.into(),
    }
}
