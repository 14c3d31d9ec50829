//! What can go wrong, as far as an app can act on it.

use std::any::Any;
use std::io::ErrorKind;

use nightgraft_core::Error;
use nightgraft_store::Error as StoreError;

/// What a fallible call returns.
pub type Result<T, E = NightgraftError> = std::result::Result<T, E>;

/// Every failure of a call. `reason` is a sentence for developers; it names files and settings, never a user's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum NightgraftError {
    /// The model file is missing, damaged, or of a kind that cannot be trained. Get another file.
    #[error("the model cannot be used: {reason}")]
    InvalidModel {
        /// What is wrong with it.
        reason: String,
    },
    /// The model's file was changed, replaced or removed while it was in use. What was done before is saved. Put the file back,
    /// open the model again and go on; put a new model beside the old one, under another name, and never write into one.
    #[error("the model has changed: {reason}")]
    ModelChanged {
        /// Which file, and what is different.
        reason: String,
    },
    /// An example, a file of examples, or an adapter's file cannot be used. Leave it out or mend it.
    #[error("the data cannot be used: {reason}")]
    InvalidData {
        /// What is wrong with it.
        reason: String,
    },
    /// The session does not fit in the memory that it may take. Allow more, or a smaller context, rank or model.
    #[error("{needed} bytes of memory are needed and {available} may be taken")]
    OutOfMemoryBudget {
        /// Bytes that the smallest plan takes.
        needed: u64,
        /// Bytes that it may take.
        available: u64,
    },
    /// The disk is full, or the store's quota. Make room; nothing was lost.
    #[error("no room to write: {reason}")]
    StorageFull {
        /// What was to be written.
        reason: String,
    },
    /// Somebody else has the store open. Close that handle or end that process.
    #[error("the store is in use: {reason}")]
    StoreLocked {
        /// By whom, as far as it is known.
        reason: String,
    },
    /// A file of the store is not what was once written. See `AdapterStore.verify`.
    #[error("a file is damaged: {reason}")]
    Corrupted {
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// The key is not the one that the store was made with, or there is none and one is needed.
    #[error("wrong key: {reason}")]
    WrongKey {
        /// Which store.
        reason: String,
    },
    /// The call was ended before it was done: by the app, a listener's or the platform's failure, or because the
    /// handle was released. What was done until then is saved.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// By whom.
        reason: String,
    },
    /// What was asked for cannot be done: settings that make no sense, a graft that is not there or was refused, a
    /// session that was begun with other settings.
    #[error("not possible: {reason}")]
    Unsupported {
        /// What, and what to do instead.
        reason: String,
    },
    /// Something that should not happen. Please report it.
    #[error("internal error: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

/// What a listener throws to end the work that it listens to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// It failed.
    #[error("the listener failed: {reason}")]
    Failed {
        /// How.
        reason: String,
    },
}

/// What a platform throws when the device cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum PlatformError {
    /// It failed.
    #[error("the platform failed: {reason}")]
    Failed {
        /// How.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for PlatformError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

impl From<Error> for NightgraftError {
    fn from(error: Error) -> Self {
        let reason = one_line(&error);
        match error {
            Error::Gguf { .. } | Error::UnsupportedModel { .. } | Error::NotAsPublished { .. } => {
                Self::InvalidModel { reason }
            }
            Error::ModelChanged { .. } => Self::ModelChanged { reason },
            Error::Adapter { .. } | Error::NotANumber { .. } => Self::InvalidData { reason },
            Error::OutOfMemoryBudget { needed, available } => Self::OutOfMemoryBudget { needed, available },
            Error::Io(error) => of_io(error.source.kind(), reason),
            Error::Text(error) => of_text(&error, reason),
            Error::Store(error) => error.into(),
            Error::Cancelled => Self::Cancelled { reason },
            Error::Config { .. } | Error::Changed { .. } | Error::Generate { .. } => {
                Self::Unsupported { reason }
            }
            _ => Self::Internal { reason },
        }
    }
}

impl From<StoreError> for NightgraftError {
    fn from(error: StoreError) -> Self {
        let reason = one_line(&error);
        match error {
            StoreError::Io(error) => of_io(error.source.kind(), reason),
            StoreError::Text(error) => of_text(&error, reason),
            StoreError::Quota { .. } => Self::StorageFull { reason },
            StoreError::Locked { .. } => Self::StoreLocked { reason },
            StoreError::Corrupted { .. }
            | StoreError::Inconsistent { .. }
            | StoreError::Checkpoint { .. } => Self::Corrupted { reason },
            StoreError::WrongKey { .. } | StoreError::NoKey { .. } => Self::WrongKey { reason },
            StoreError::OtherBuild { .. } | StoreError::Refused { .. } => Self::Unsupported { reason },
            _ => Self::Internal { reason },
        }
    }
}

impl From<nightgraft_policy::InvalidRule> for NightgraftError {
    fn from(error: nightgraft_policy::InvalidRule) -> Self {
        Self::Unsupported { reason: one_line(&error) }
    }
}

fn of_io(kind: ErrorKind, reason: String) -> NightgraftError {
    match kind {
        kind if is_full(kind) => NightgraftError::StorageFull { reason },
        kind if is_out_of_reach(kind) => NightgraftError::Unsupported { reason },
        _ => NightgraftError::Internal { reason },
    }
}

fn of_text(error: &nightgraft_text::Error, reason: String) -> NightgraftError {
    use nightgraft_text::Error as TextError;
    match error {
        TextError::Tokenizer { .. } => NightgraftError::InvalidModel { reason },
        TextError::Data { .. } | TextError::Line { .. } => NightgraftError::InvalidData { reason },
        TextError::Template { .. } | TextError::Rendering { .. } | TextError::Config { .. } => {
            NightgraftError::Unsupported { reason }
        }
        TextError::Io(error) => of_io(error.source.kind(), reason),
        _ => NightgraftError::Internal { reason },
    }
}

impl NightgraftError {
    pub(crate) fn cancelled(reason: &str) -> Self {
        Self::Cancelled { reason: reason.to_owned() }
    }

    /// For a panic that was caught. A text that was put together at run time may quote the owner's data: only one that
    /// stands in the source is passed on.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        Self::Internal {
            reason: format!("a panic: {}", text.unwrap_or("its text may hold data, and is left out")),
        }
    }
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A path that is not there, or that this process may not use.
fn is_out_of_reach(kind: ErrorKind) -> bool {
    use ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(kind, NotFound | PermissionDenied | ReadOnlyFilesystem | NotADirectory | IsADirectory)
}

/// An error's text on one line.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
