//! What is wrong with a vocabulary, a template or a training file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::answer::Unclear;
use crate::data::DataProblem;
use crate::tokenizer::TokenizerProblem;
use crate::unused::NotShown;

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
        problem: String,
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

/// Why a chat template cannot be asked, or what it shows cannot be learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// There is none.
    #[error("this model has none: leave out --chat, or use an instruction-tuned model")]
    Missing,
    /// It does not tell what the model must say.
    #[error(transparent)]
    Unclear(#[from] Unclear),
    /// It leaves out what the answers stand on.
    #[error(transparent)]
    NotShown(#[from] NotShown),
}

/// Why a chat template gave no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum TemplateFault {
    /// It is longer than 1 MiB.
    #[strum(to_string = "it is longer than 1 MiB")]
    TooLong,
    /// It is not the language that we read.
    #[strum(to_string = "it does not parse")]
    Unparsable,
    /// It raised an exception, as templates do for conversations that the model was not made for.
    #[strum(to_string = "it refuses the conversation")]
    Refusal,
    /// It did what cannot be done.
    #[strum(to_string = "it cannot be rendered")]
    Failure,
}

impl From<TemplateProblem> for Error {
    fn from(problem: TemplateProblem) -> Self {
        Self::Template { problem }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        for (problem, words) in [
            (
                TemplateProblem::Missing,
                "this model has none: leave out --chat, or use an instruction-tuned model",
            ),
            (
                Unclear::OffPrompt { message: 2 }.into(),
                "it does not write message 2 behind its own prompt for an answer, so what the model must say there is \
                 unknown; write the conversation out as {\"prompt\", \"completion\"}, the prompt as the model gets it at use",
            ),
            (
                Unclear::ThoughtIsOver { message: 2 }.into(),
                "its prompt for an answer ends the thought before message 2 begins, so the reasoning of that message \
                 cannot be learned; leave it out, or write the conversation out as {\"prompt\", \"completion\"}",
            ),
            (
                Unclear::Unprompted { message: 1 }.into(),
                "it has no prompt for message 1, which stands before any question; put a user turn before it, or give it \
                 \"weight\": 0",
            ),
            (
                NotShown::Variable { key: "tools" }.into(),
                "it does not show \"tools\", which the answers stand on; take another model, or leave such lines out",
            ),
            (
                NotShown::Key { key: "tool_calls", message: 2 }.into(),
                "it does not show \"tool_calls\" of message 2; take another model, or write the conversation out as \
                 {\"prompt\", \"completion\"}",
            ),
            (
                NotShown::ToolResult { message: 3 }.into(),
                "it does not show message 3, the result of a tool; take another model, or write the conversation out as \
                 {\"prompt\", \"completion\"}",
            ),
            (
                NotShown::Answer { message: 2 }.into(),
                "it does not show the \"content\" of message 2, which is to be learned",
            ),
        ] {
            let error = Error::from(problem).to_string();
            assert_eq!(error, format!("chat template: {words}"));
        }
    }
}
