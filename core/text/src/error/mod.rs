//! What is wrong with a vocabulary, a template or a training file.

mod template;
mod tokenizer;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::data::DataProblem;

pub use template::{NotShown, TemplateFault, TemplateProblem, Unclear};
pub use tokenizer::TokenizerProblem;

/// What a fallible call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a text did not become tokens. Messages name files and lines, never what somebody wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] nightgraft_files::Error),
    /// The vocabulary cannot be turned into a tokenizer, or a text cannot be encoded.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What is wrong.
        problem: TokenizerProblem,
    },
    /// A chat template that is not there, or whose text cannot be split into prompts and answers.
    #[error("chat template: {problem}")]
    Template {
        /// What is wrong and what to try.
        problem: TemplateProblem,
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
        problem: DataProblem,
    },
    /// A setting that makes no sense.
    #[error("{option}: {problem}")]
    Config {
        /// The option as it is spelled on the command line.
        option: &'static str,
        /// What is wrong and which values are allowed.
        problem: SettingProblem,
    },
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
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let fail = nightgraft_files::Error::io(action, path);
        move |source| Self::Io(fail(source))
    }
}

/// Why a setting makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingProblem {
    /// A context in which nothing can be learned.
    #[error("must be at least {least}")]
    ContextTooShort {
        /// The least that it may be.
        least: usize,
    },
    /// A text that is no date.
    #[error("'{text}' is no date; use 2026-11-29, or 2026-11-29T23:59:30")]
    NotADate {
        /// The text.
        text: String,
    },
    /// A word that is none of the choices.
    #[error("'{word}' is none of {}", known.join(", "))]
    UnknownWord {
        /// The word.
        word: String,
        /// Those that there are.
        known: &'static [&'static str],
    },
}

impl From<TemplateProblem> for Error {
    fn from(problem: TemplateProblem) -> Self {
        Self::Template { problem }
    }
}

impl From<Unclear> for Error {
    fn from(unclear: Unclear) -> Self {
        Self::Template { problem: unclear.into() }
    }
}

impl From<NotShown> for Error {
    fn from(not_shown: NotShown) -> Self {
        Self::Template { problem: not_shown.into() }
    }
}

impl From<TokenizerProblem> for Error {
    fn from(problem: TokenizerProblem) -> Self {
        Self::Tokenizer { problem }
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
