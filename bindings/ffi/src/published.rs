//! Models that anybody can download, and whether a download is whole.

use std::path::PathBuf;
use std::sync::Arc;

use nightgraft_core::session::{Digest, PUBLISHED_MODELS, StopFlag, verify_download};

use crate::error::{ListenerError, NightgraftError, Result};
use crate::executor::VERIFYING_EXECUTOR;
use crate::model::invalid;

/// A GGUF file that can be downloaded and trained.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct PublishedModel {
    /// Its short name.
    pub name: String,
    /// What it is, in a few words of English.
    pub description: String,
    /// Where the file can be downloaded.
    pub url: String,
    /// The file's own name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in 64 hexadecimal digits.
    pub sha256: String,
    /// The terms that it is under, by their SPDX identifier.
    pub licence: String,
    /// Tokens that it was made for.
    pub context: u32,
    /// Bytes that training takes besides the mapped file, with the default settings and 256 tokens at a time; none where it
    /// is not known.
    pub memory_to_train: Option<u64>,
}

/// Hears how far a file is read, from a thread of the library. What it throws ends the reading.
#[uniffi::export(with_foreign)]
pub trait BytesListener: Send + Sync {
    /// So many bytes are read.
    fn on_bytes(&self, read: u64) -> Result<(), ListenerError>;
}

/// The models that are known to be trainable, the smallest first.
#[uniffi::export]
pub fn published_models() -> Vec<PublishedModel> {
    let known = |model: &nightgraft_core::session::PublishedModel| PublishedModel {
        name: model.name.to_owned(),
        description: model.description.to_owned(),
        url: model.url(),
        file: model.file.to_owned(),
        bytes: model.bytes,
        sha256: model.sha256.to_owned(),
        licence: model.licence.to_owned(),
        context: model.context,
        memory_to_train: model.memory_to_train,
    };
    PUBLISHED_MODELS.iter().map(known).collect()
}

/// Reads all of a downloaded model and compares it with what was published: its size, which is looked at first, and its SHA-256.
/// If the caller does not wait for it any more, it stops.
///
/// # Errors
/// [`NightgraftError::InvalidModel`] if the file is missing or another one: it has to be fetched again;
/// [`NightgraftError::Unsupported`] for a sum that is none; [`NightgraftError::Cancelled`] if the listener throws.
#[uniffi::export]
pub async fn verify_model(
    path: String,
    bytes: u64,
    sha256: String,
    listener: Option<Arc<dyn BytesListener>>,
) -> Result<()> {
    let sha256 = Digest::from_hex(&sha256).ok_or_else(|| NightgraftError::Unsupported {
        reason: "a SHA-256 has 64 hexadecimal digits".to_owned(),
    })?;
    let flag = StopFlag::new();
    let _stop = RaisedWhenDropped(flag.clone());
    VERIFYING_EXECUTOR
        .run(move || {
            let mut failure = None;
            let verified = verify_download(&PathBuf::from(path), bytes, sha256, &flag, &mut |read| {
                failure = listener.as_ref().and_then(|listener| listener.on_bytes(read).err());
                if failure.is_some() {
                    flag.raise();
                }
            });
            match failure {
                Some(failure) => Err(NightgraftError::Cancelled { reason: failure.to_string() }),
                None => verified.map_err(invalid),
            }
        })
        .await
}

struct RaisedWhenDropped(StopFlag);

impl Drop for RaisedWhenDropped {
    fn drop(&mut self) {
        self.0.raise();
    }
}
