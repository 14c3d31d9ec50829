//! Why no command converts a line of another program.

use std::fmt;

/// Why no command converts a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nothing tells which of the speakers the model is.
    Speakers,
    /// The entries are no turns that are known.
    Turns,
    /// What stands under the key is more than text.
    NotText(&'static str),
    /// The tools are declared in another way than templates show them.
    Tools,
    /// Earlier turns are no pairs of texts.
    History,
    /// What was chosen answers nothing.
    NoQuestion,
    /// What was chosen has another question than the line.
    OtherQuestion,
    /// The key has a meaning here and would stay.
    Besides(&'static str),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Speakers => formatter.write_str(
                "nothing tells which of the speakers the model is; write {\"messages\": [{\"role\", \"content\"}]} with \
                 the role \"assistant\" for it",
            ),
            Self::Turns => formatter.write_str(
                "its entries are not turns with a speaker and a text; write {\"messages\": [{\"role\", \"content\"}]}",
            ),
            Self::NotText(key) => {
                write!(formatter, "what stands under {key:?} is more than a text; only text can be learned")
            }
            Self::Tools => formatter.write_str(
                "its tools are declared otherwise than chat templates show them; write them as {\"tools\": [{\"type\": \
                 \"function\", \"function\"}]} beside \"messages\"",
            ),
            Self::History => formatter.write_str("its \"history\" is not a list of pairs of texts; write {\"messages\"}"),
            Self::NoQuestion => formatter.write_str(
                "nothing tells what was asked; write {\"prompt\", \"completion\"} or {\"messages\"}",
            ),
            Self::OtherQuestion => formatter.write_str(
                "\"chosen\" has another question than the one beside it; write {\"messages\"} with both",
            ),
            Self::Besides(key) => write!(formatter, "it has {key:?} besides; keep one of them"),
        }
    }
}
