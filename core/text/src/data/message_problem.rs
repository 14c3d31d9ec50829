//! What is wrong with a message.

use crate::data::json_kind::JsonKind;

/// Why a message cannot be used. Its words go on from the name of the message, and hold nothing of its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageProblem {
    /// A key that every message has.
    #[error("has no {key:?}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another kind.
    #[error("has {found} as its {key:?}, not {expected}")]
    Kind {
        /// What it stands under.
        key: &'static str,
        /// What it is.
        found: JsonKind,
        /// What it should be.
        expected: JsonKind,
    },
    /// A call of a tool that is no object.
    #[error("has {found} in its \"tool_calls\", not an object")]
    Call {
        /// What it is.
        found: JsonKind,
    },
    /// A part that is no text.
    #[error(
        "has a part {number} in its \"content\" that is no text{}; only text can be learned",
        kind.map_or_else(String::new, |kind| format!(" (type {kind:?})"))
    )]
    Part {
        /// Its place among the parts, from 1.
        number: usize,
        /// Its type, if that is a known one. Others may hold anything, and are not repeated.
        kind: Option<&'static str>,
    },
    /// A weight of which it is not clear whether an answer is learned.
    #[error("has a {key:?} that is neither 0 (not learned) nor 1 (learned); write one of them")]
    UnclearWeight {
        /// What it stands under.
        key: &'static str,
    },
    /// A key of which it is not clear what it says.
    #[error(
        "has a {key:?}, which may mean that it is not to be learned; write \"weight\": 0 (not learned) or 1 (learned) in its \
         place"
    )]
    UnclearMask {
        /// The key.
        key: &'static str,
    },
}
