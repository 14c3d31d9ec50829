//! The one error type of the engine, and the reasons in it.

mod adapter;
mod config;
mod download;
mod foreign;
mod gpu;
mod model;
mod peft;
mod session_change;
mod split;

use std::path::{Path, PathBuf};

use nightgraft_ggml::FileChange;
use nightgraft_text::Unlogged;

pub use adapter::{AdapterMetadataProblem, AdapterProblem, OtherBase};
pub use config::{Allowed, ConfigProblem};
pub use download::DownloadProblem;
pub use foreign::ForeignAdapter;
pub use gpu::GpuError;
pub(crate) use gpu::is_out_of_memory;
pub use model::{ArchitectureKind, KeyProblem, ModelProblem};
pub use peft::PeftProblem;
pub use session_change::SessionChange;
pub use split::SplitProblem;

/// What a fallible engine call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, with the operands a person needs to act on it.
///
/// Messages name files and options, never prompts or training texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error(transparent)]
    Io(#[from] nightgraft_files::Error),
    /// A file that is not a well-formed GGUF.
    #[error("{} is not a usable GGUF file: {problem}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: GgufProblem,
    },
    /// The model's file is not the one any more that it was when it was opened. Nothing that was computed with it since then
    /// was kept; what was done before is saved.
    #[error(
        "the model {} is not what it was: {change}. Put the file back to go on; a new one is written beside it under \
         another name and renamed when nothing uses the old one",
        path.display()
    )]
    ModelChanged {
        /// The model's file.
        path: PathBuf,
        /// What is different.
        change: FileChange,
    },
    /// A downloaded model that is not the file that was published.
    #[error("{} is not the model that was published: {problem}; fetch it again", path.display())]
    NotAsPublished {
        /// The file.
        path: PathBuf,
        /// What differs.
        problem: DownloadProblem,
    },
    /// A well-formed model that this engine cannot run.
    #[error("model not supported: {problem}")]
    UnsupportedModel {
        /// The architecture, tensor or option that is not supported, and what is.
        problem: ModelProblem,
    },
    /// A text that does not become tokens: by its tokenizer, its chat template or its file.
    #[error(transparent)]
    Text(nightgraft_text::Error),
    /// A setting that makes no sense, alone or with the others.
    #[error("{option}: {problem}")]
    Config {
        /// The option as it is spelled on the command line.
        option: &'static str,
        /// What is wrong and which values are allowed.
        problem: ConfigProblem,
    },
    /// An adapter that cannot be read, or does not fit the model.
    #[error("adapter {}: {problem}", path.display())]
    Adapter {
        /// The adapter's file or folder.
        path: PathBuf,
        /// What is wrong and what to try.
        problem: AdapterProblem,
    },
    /// A file of a store, or a checkpoint, that cannot be read or written.
    #[error(transparent)]
    Store(nightgraft_store::Error),
    /// A session that goes on from another start than it was begun with.
    #[error("the session cannot go on: {what}. To begin a new one, start anew (--start-anew)")]
    Changed {
        /// What differs.
        what: SessionChange,
    },
    /// A plan that takes more memory than there is.
    #[error(
        "{needed} bytes of memory are needed and {available} may be taken; allow more, or give a smaller --context, \
         --rank or --batch-tokens"
    )]
    OutOfMemoryBudget {
        /// Bytes that the smallest plan takes.
        needed: u64,
        /// Bytes that it may take.
        available: u64,
    },
    /// The loss or a gradient stopped being a number.
    #[error(
        "step {step}: {place} is not finite; the last good adapter was kept. Try a lower --lr or a --clip"
    )]
    NotFinite {
        /// The optimizer step, counted from 1.
        step: u64,
        /// `loss`, or the layer and module whose gradient it is.
        place: String,
    },
    /// A measurement that is no number.
    #[error(
        "{what} is not a number: the model or the adapter is damaged, or the adapter was trained until it diverged"
    )]
    NotANumber {
        /// What was measured.
        what: &'static str,
    },
    /// The stop flag was raised.
    #[error("stopped on request")]
    Cancelled,
    /// llama.cpp refused to generate.
    #[error("generation: {problem}")]
    Generate {
        /// What llama.cpp said and what to try.
        problem: String,
    },
    /// A GPU failed, where there was nothing that could take its place.
    #[error(transparent)]
    Gpu(GpuError),
    /// The layer over ggml refused an operation.
    #[error(transparent)]
    Ggml(nightgraft_ggml::Error),
}

/// Why a file is not a usable GGUF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufProblem {
    /// It is not well formed, or cannot be written so.
    #[error(transparent)]
    Format(#[from] nightgraft_gguf::Problem),
    /// It is a part of a model that was split, and the parts are no model together.
    #[error(transparent)]
    Split(#[from] SplitProblem),
}

impl From<nightgraft_ggml::Error> for Error {
    fn from(error: nightgraft_ggml::Error) -> Self {
        match error {
            nightgraft_ggml::Error::Aborted => Self::Cancelled,
            nightgraft_ggml::Error::Instructions(error) => {
                Self::Config { option: nightgraft_ggml::INSTRUCTIONS_VARIABLE, problem: error.into() }
            }
            nightgraft_ggml::Error::Map { path, source } => Error::io("map", &path)(source),
            nightgraft_ggml::Error::FileChanged { path, change } => Self::ModelChanged { path, change },
            nightgraft_ggml::Error::Llama { doing, problem } => {
                Self::Generate { problem: format!("{doing}: {problem}") }
            }
            error => Self::Ggml(error),
        }
    }
}

impl From<GpuError> for Error {
    fn from(error: GpuError) -> Self {
        if gpu::is_stopped(&error) { Self::Cancelled } else { Self::Gpu(error) }
    }
}

impl From<nightgraft_text::Error> for Error {
    fn from(error: nightgraft_text::Error) -> Self {
        match error {
            nightgraft_text::Error::Io(error) => Self::Io(error),
            nightgraft_text::Error::Config { option, problem } => {
                Self::Config { option, problem: problem.into() }
            }
            error => Self::Text(error),
        }
    }
}

impl From<nightgraft_store::Error> for Error {
    fn from(error: nightgraft_store::Error) -> Self {
        match error {
            nightgraft_store::Error::Io(error) => Self::Io(error),
            nightgraft_store::Error::Text(error) => error.into(),
            error => Self::Store(error),
        }
    }
}

impl From<nightgraft_gguf::Error> for Error {
    fn from(error: nightgraft_gguf::Error) -> Self {
        match error {
            nightgraft_gguf::Error::Io(error) => Self::Io(error),
            nightgraft_gguf::Error::Unwritable { path, problem } => {
                Self::Gguf { path, problem: problem.into() }
            }
            nightgraft_gguf::Error::Producer(error) => match error.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::io("write", Path::new("a GGUF file"))(std::io::Error::other(other)),
            },
        }
    }
}

impl From<nightgraft_policy::InvalidRule> for Error {
    fn from(nightgraft_policy::InvalidRule { option, problem }: nightgraft_policy::InvalidRule) -> Self {
        Self::Config { option, problem: problem.into() }
    }
}

impl Error {
    /// For a setting that makes no sense.
    pub fn config(option: &'static str, problem: impl Into<ConfigProblem>) -> Self {
        Self::Config { option, problem: problem.into() }
    }

    /// For an adapter at `path` that cannot be used.
    pub(crate) fn adapter(path: &Path, problem: impl Into<AdapterProblem>) -> Self {
        Self::Adapter { path: path.to_owned(), problem: problem.into() }
    }

    /// What a template said, if it is a template's error: for the person at the terminal only.
    pub fn unlogged(&self) -> Option<&Unlogged> {
        match self {
            Self::Text(error) => error.unlogged(),
            _ => None,
        }
    }

    /// For `map_err` on a file operation: `.map_err(Error::io("open", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let fail = nightgraft_files::Error::io(action, path);
        move |source| Self::Io(fail(source))
    }
}
