//! The one error type of the engine.

use std::fmt;
use std::path::{Path, PathBuf};

use nightgraft_ggml::FileChange;

/// What a fallible engine call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, with the operands a person needs to act on it.
///
/// Messages name files and options, never prompts or training texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb: `open`, `write`, `rename`.
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is not a well-formed GGUF.
    #[error("{} is not a usable GGUF file: {problem}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
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
    /// A well-formed model that this engine cannot run.
    #[error("model not supported: {problem}")]
    UnsupportedModel {
        /// The architecture, tensor or option that is not supported, and what is.
        problem: String,
    },
    /// The vocabulary cannot be turned into a tokenizer, or a text cannot be encoded.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What is wrong, without the text itself.
        problem: String,
    },
    /// A chat template that is not there, or whose text cannot be split into prompts and answers.
    #[error("chat template: {problem}")]
    Template {
        /// What is wrong and what to try.
        problem: String,
    },
    /// A chat template that does not parse, or gave no text for a conversation.
    #[error("chat template: {fault}{}", line.map_or(String::new(), |n| format!(" (line {n} of the template)")))]
    Rendering {
        /// Why.
        fault: TemplateFault,
        /// The template's line, counted from 1.
        line: Option<usize>,
        /// What it said.
        words: Unlogged,
    },
    /// A line of a data file that is well-formed, and cannot be used for another reason.
    #[error("{}{}: {source}", path.display(), line.map_or(String::new(), |n| format!(":{n}")))]
    Line {
        /// The data file.
        path: PathBuf,
        /// The line, counted from 1, where there is one.
        line: Option<usize>,
        /// The reason.
        source: Box<Self>,
    },
    /// A training or evaluation file with bad content.
    #[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |n| format!(":{n}")))]
    Data {
        /// The data file.
        path: PathBuf,
        /// The line, counted from 1, where the format has lines.
        line: Option<usize>,
        /// What is wrong and what to try.
        problem: String,
    },
    /// A setting that makes no sense, alone or with the others.
    #[error("{option}: {problem}")]
    Config {
        /// The option as it is spelled on the command line.
        option: &'static str,
        /// What is wrong and which values are allowed.
        problem: String,
    },
    /// An adapter that cannot be read, or does not fit the model.
    #[error("adapter {}: {problem}", path.display())]
    Adapter {
        /// The adapter's file or folder.
        path: PathBuf,
        /// What is wrong and what to try.
        problem: String,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint {}: {problem}{}", path.display(), learning_on(path, problem))]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// What is wrong.
        problem: CheckpointProblem,
    },
    /// A sealed file that is valid, and whose content is not of the shape that this program writes.
    #[error(
        "{}: another build of this program wrote it, and this one cannot read it ({problem}); use the build that \
         wrote it",
        path.display()
    )]
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// The kind and place of what is not understood, never its words.
        problem: String,
    },
    /// A sealed file that is not what was once written.
    #[error("{} is damaged: {problem}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of a store that is valid, and not the one that the store wrote last.
    #[error(
        "{}: {why}; bring back the whole store as it was at one moment, or let `nightgraft store verify --repair` keep \
         what is certain", path.display()
    )]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Inconsistency,
    },
    /// An encrypted file, and not the key for it.
    #[error("the key does not open {}: it is not the one that the file was written with", path.display())]
    WrongKey {
        /// The file, or the store.
        path: PathBuf,
    },
    /// An encrypted store, and no key at all.
    #[error("the store {}: it is encrypted; give its key", path.display())]
    NoKey {
        /// The store.
        path: PathBuf,
    },
    /// Another process has the store open.
    #[error("the store {} is in use by another process; end that one first", path.display())]
    StoreLocked {
        /// The store's folder.
        path: PathBuf,
    },
    /// A write that would make the store larger than it may be.
    #[error("the store needs {needed} bytes and may take {quota}; delete something, or allow more")]
    Quota {
        /// Bytes that the store would take.
        needed: u64,
        /// Bytes that it may take.
        quota: u64,
    },
    /// Something that a store cannot do, such as to use an adapter of another base model.
    #[error("store {}: {problem}", path.display())]
    Store {
        /// The store's folder, or a file in it.
        path: PathBuf,
        /// What is wrong and what to try.
        problem: String,
    },
    /// A session that goes on from another start than it was begun with.
    #[error("the session cannot go on: {what}")]
    Changed {
        /// Which of base, data and settings differ, and what to try.
        what: String,
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
    /// The layer over ggml refused an operation.
    #[error(transparent)]
    Ggml(nightgraft_ggml::Error),
}

/// How a file of a store differs from what the store wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inconsistency {
    /// An earlier version of it is in its place.
    Earlier,
    /// It was removed, and is there again.
    PutBack,
    /// It is gone.
    Missing,
    /// It is the manifest, and files that it lists are newer.
    EarlierManifest,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => {
                "it is not what the store wrote last, an earlier version of it was put in its place"
            }
            Self::PutBack => "the store had removed it, and it was put back",
            Self::Missing => "it is missing",
            Self::EarlierManifest => {
                "it is older than the store's files, an earlier version of it was put back"
            }
        })
    }
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointProblem {
    /// Another version of this program wrote it, and could go on with it.
    OtherVersion {
        /// The version of the format.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// It was made with another base model.
    OtherBase,
    /// It was made with other data.
    OtherData,
    /// It was made with other settings.
    OtherSettings {
        /// The settings that differ, as they were.
        then: Vec<String>,
        /// The settings that differ, as they are now.
        now: Vec<String>,
    },
    /// Its numbers are not of such a run, although they are what was once written.
    Impossible(&'static str),
    /// The sets of numbers that were to be written do not have the adapter's shapes.
    Shapes(String),
}

impl CheckpointProblem {
    /// Whether it is of another run than the one that would go on from it.
    pub fn is_of_another_run(&self) -> bool {
        matches!(self, Self::OtherBase | Self::OtherData | Self::OtherSettings { .. })
    }

    /// What is wrong, without what to try.
    pub fn what(&self) -> String {
        match self {
            Self::OtherVersion { found, known } => {
                format!("written in version {found} of the format, this program reads version {known}")
            }
            Self::OtherBase => "it was made with another base model".to_owned(),
            Self::OtherData => "it was made with other data".to_owned(),
            Self::OtherSettings { then, now } => {
                format!("it was made with {}, now {}", then.join(", "), now.join(", "))
            }
            Self::Impossible(problem) => (*problem).to_owned(),
            Self::Shapes(problem) => problem.clone(),
        }
    }
}

/// How to keep what another run learned. A schedule spans all steps, so that a longer run is another one from its first step;
/// but its adapter can be trained on.
fn learning_on(checkpoint: &Path, problem: &CheckpointProblem) -> String {
    let run = checkpoint.parent().and_then(Path::parent);
    match (problem, run) {
        (CheckpointProblem::OtherData | CheckpointProblem::OtherSettings { .. }, Some(run)) => format!(
            ". To keep what it learned, train on from its adapter: --init-adapter {} --out ELSEWHERE",
            run.join("adapter").display()
        ),
        _ => String::new(),
    }
}

impl fmt::Display for CheckpointProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        f.write_str(match self {
            Self::OtherVersion { .. } => {
                "; continue with the program that wrote it, or start anew with --resume never"
            }
            Self::OtherBase | Self::OtherData | Self::OtherSettings { .. } => {
                ". Use another --out, or --resume never to start anew"
            }
            Self::Impossible(_) => "; use --resume never",
            Self::Shapes(_) => "",
        })
    }
}

/// Why a chat template gave no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateFault {
    /// It is longer than 1 MiB.
    TooLong,
    /// It is not the language that we read.
    Unparsable,
    /// It raised an exception, as templates do for conversations that the model was not made for.
    Refusal,
    /// It did what cannot be done.
    Failure,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 1 MiB",
            Self::Unparsable => "it does not parse",
            Self::Refusal => "it refuses the conversation",
            Self::Failure => "it cannot be rendered",
        })
    }
}

/// Words that may quote what somebody wrote. Neither `Debug` nor `Display` shows them, so that no log and no app gets
/// them with an error that holds them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Unlogged(String);

impl Unlogged {
    /// Hides `words`.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The words, to be shown to the person whose conversation it is, and kept nowhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Unlogged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unlogged(..)")
    }
}

impl From<nightgraft_ggml::Error> for Error {
    fn from(error: nightgraft_ggml::Error) -> Self {
        match error {
            nightgraft_ggml::Error::Aborted => Self::Cancelled,
            nightgraft_ggml::Error::Instructions(error) => {
                Self::Config { option: nightgraft_ggml::INSTRUCTIONS_VARIABLE, problem: error.to_string() }
            }
            nightgraft_ggml::Error::Map { path, source } => Self::Io { action: "map", path, source },
            nightgraft_ggml::Error::FileChanged { path, change } => Self::ModelChanged { path, change },
            nightgraft_ggml::Error::Llama { doing, problem } => {
                Self::Generate { problem: format!("{doing}: {problem}") }
            }
            error => Self::Ggml(error),
        }
    }
}

impl Error {
    /// What a template said, if it is a template's error: for the person at the terminal only.
    pub fn unlogged(&self) -> Option<&Unlogged> {
        match self {
            Self::Rendering { words, .. } => Some(words),
            Self::Line { source, .. } => source.unlogged(),
            _ => None,
        }
    }

    /// For `map_err` on a file operation: `.map_err(Error::io("open", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
