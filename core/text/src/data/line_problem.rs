//! What is wrong with a line.

use crate::data::foreign_shape::ForeignShape;
use crate::data::json_kind::JsonKind;
use crate::data::message_problem::MessageProblem;
use crate::data::unreadable::{ARRAY, Unreadable};

/// Why a line has none of the known shapes. None holds what somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// More than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES).
    #[error("longer than 16 MiB")]
    TooLong,
    /// No JSON.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A list where an object should be.
    #[error("{ARRAY}")]
    Array,
    /// Anything else where an object should be.
    #[error("{0}, not a JSON object")]
    NotAnObject(JsonKind),
    /// A shape that another program reads.
    #[error(transparent)]
    Foreign(#[from] Box<ForeignShape>),
    /// No key that tells the shape.
    #[error(
        "none of the known shapes: {{\"text\"}}, {{\"prompt\", \"completion\"}}, {{\"messages\"}} or {{\"input_ids\", \
         \"labels\"}}"
    )]
    UnknownShape,
    /// Several shapes in one.
    #[error("has {0:?} at once; keep one of them")]
    SeveralShapes(Vec<&'static str>),
    /// A text and a list of messages.
    #[error("\"prompt\" and \"completion\" must both be strings, or both lists of messages")]
    TextAndMessages,
    /// A key that goes with another one.
    #[error("{key:?} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another kind.
    #[error("{key:?} is {found}, not {expected}")]
    Kind {
        /// What it stands under.
        key: &'static str,
        /// What it is.
        found: JsonKind,
        /// What it should be.
        expected: JsonKind,
    },
    /// A text without a character.
    #[error("{key:?} is empty: there is nothing to learn")]
    Empty {
        /// What it stands under.
        key: &'static str,
    },
    /// A list of numbers with something else in it.
    #[error("{key:?} has {found} at index {index}, not an integer")]
    NotAnInteger {
        /// What the list stands under.
        key: &'static str,
        /// The place in the list, from 0.
        index: usize,
        /// What stands there.
        found: JsonKind,
    },
    /// An id that the model does not have.
    #[error("{key:?} has {id}; the model's ids are 0 to {}", n_vocab.saturating_sub(1))]
    UnknownId {
        /// What the list stands under.
        key: &'static str,
        /// The id.
        id: i64,
        /// How many ids the model has.
        n_vocab: usize,
    },
    /// Labels that are not as many as the ids.
    #[error("\"input_ids\" has {ids} entries and \"labels\" {labels}")]
    Lengths {
        /// How many ids there are.
        ids: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// Ids of which none is learned.
    #[error("no label behind the first is other than -100: there is nothing to learn")]
    NoLabel,
    /// An entry of a list of messages that is none.
    #[error("entry {number} of {key:?} is {found}, not an object")]
    NotAMessage {
        /// What the list stands under.
        key: &'static str,
        /// The place in the list, from 1.
        number: usize,
        /// What stands there.
        found: JsonKind,
    },
    /// A message that cannot be used.
    #[error("message {number}{} {problem}", if *key == "messages" { String::new() } else { format!(" of {key:?}") })]
    Message {
        /// What the list of messages stands under.
        key: &'static str,
        /// The place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        problem: MessageProblem,
    },
    /// A conversation without an answer.
    #[error("no message has the role \"assistant\": there is nothing to learn")]
    NoAnswer,
    /// A conversation of which every answer is masked.
    #[error("each message with the role \"assistant\" has the weight 0: there is nothing to learn")]
    AllMasked,
    /// A line of which a key says that it is not learned.
    #[error("{key:?} is 0: there is nothing to learn; leave the line out")]
    Masked {
        /// The key.
        key: &'static str,
    },
    /// A weight of which it is not clear whether the line is learned.
    #[error("\"weight\" is neither 0 nor 1; write 1, or leave the line out")]
    UnclearWeight,
    /// An answer that was rejected.
    #[error("{key:?} is false: this answer was rejected, and is not to be learned; leave the line out")]
    Rejected {
        /// The key that says so.
        key: &'static str,
    },
    /// An answer that may have been rejected.
    #[error(
        "{key:?} is 0, which may mean that this answer was rejected; leave the line out if so, or else the key"
    )]
    PerhapsRejected {
        /// The key that may say so.
        key: &'static str,
    },
}

impl From<ForeignShape> for LineProblem {
    fn from(shape: ForeignShape) -> Self {
        Self::Foreign(Box::new(shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let key = "labels";
        let message = |problem| LineProblem::Message { key: "messages", number: 1, problem };
        let unmasked = MessageProblem::UnclearWeight { key: "train" };
        for (problem, words) in [
            (LineProblem::TooLong, "longer than 16 MiB"),
            (
                LineProblem::Array,
                "a JSON array: each line must hold one whole object; jq -c '.[]' FILE > NEW.jsonl takes an array apart",
            ),
            (LineProblem::NotAnObject(JsonKind::Null), "null, not a JSON object"),
            (LineProblem::NotAnObject(JsonKind::Boolean), "a boolean, not a JSON object"),
            (
                LineProblem::UnknownShape,
                "none of the known shapes: {\"text\"}, {\"prompt\", \"completion\"}, {\"messages\"} or {\"input_ids\", \
                 \"labels\"}",
            ),
            (
                LineProblem::SeveralShapes(vec!["text", "messages"]),
                "has [\"text\", \"messages\"] at once; keep one of them",
            ),
            (
                LineProblem::TextAndMessages,
                "\"prompt\" and \"completion\" must both be strings, or both lists of messages",
            ),
            (LineProblem::Missing { key }, "\"labels\" is missing"),
            (
                LineProblem::Kind { key, found: JsonKind::Number, expected: JsonKind::List },
                "\"labels\" is a number, not a list",
            ),
            (
                LineProblem::Kind { key: "text", found: JsonKind::Object, expected: JsonKind::String },
                "\"text\" is an object, not a string",
            ),
            (LineProblem::Empty { key: "text" }, "\"text\" is empty: there is nothing to learn"),
            (
                LineProblem::NotAnInteger { key, index: 1, found: JsonKind::String },
                "\"labels\" has a string at index 1, not an integer",
            ),
            (
                LineProblem::UnknownId { key, id: -99, n_vocab: 9 },
                "\"labels\" has -99; the model's ids are 0 to 8",
            ),
            (LineProblem::Lengths { ids: 2, labels: 1 }, "\"input_ids\" has 2 entries and \"labels\" 1"),
            (LineProblem::NoLabel, "no label behind the first is other than -100: there is nothing to learn"),
            (
                LineProblem::NotAMessage { key: "messages", number: 1, found: JsonKind::List },
                "entry 1 of \"messages\" is a list, not an object",
            ),
            (
                LineProblem::Message { key: "prompt", number: 1, problem: unmasked.clone() },
                "message 1 of \"prompt\" has a \"train\" that is neither 0 (not learned) nor 1 (learned); write one of \
                 them",
            ),
            (
                message(unmasked),
                "message 1 has a \"train\" that is neither 0 (not learned) nor 1 (learned); write one of them",
            ),
            (
                message(MessageProblem::UnclearMask { key: "mask" }),
                "message 1 has a \"mask\", which may mean that it is not to be learned; write \"weight\": 0 (not learned) or \
                 1 (learned) in its place",
            ),
            (message(MessageProblem::Missing { key: "role" }), "message 1 has no \"role\""),
            (
                message(MessageProblem::Kind {
                    key: "role",
                    found: JsonKind::Number,
                    expected: JsonKind::String,
                }),
                "message 1 has a number as its \"role\", not a string",
            ),
            (
                message(MessageProblem::Kind {
                    key: "tool_calls",
                    found: JsonKind::Object,
                    expected: JsonKind::List,
                }),
                "message 1 has an object as its \"tool_calls\", not a list",
            ),
            (
                message(MessageProblem::Call { found: JsonKind::Number }),
                "message 1 has a number in its \"tool_calls\", not an object",
            ),
            (
                message(MessageProblem::Part { number: 2, kind: Some("image_url") }),
                "message 1 has a part 2 in its \"content\" that is no text (type \"image_url\"); only text can be learned",
            ),
            (
                message(MessageProblem::Part { number: 1, kind: None }),
                "message 1 has a part 1 in its \"content\" that is no text; only text can be learned",
            ),
            (LineProblem::NoAnswer, "no message has the role \"assistant\": there is nothing to learn"),
            (
                LineProblem::AllMasked,
                "each message with the role \"assistant\" has the weight 0: there is nothing to learn",
            ),
            (
                LineProblem::Masked { key: "loss" },
                "\"loss\" is 0: there is nothing to learn; leave the line out",
            ),
            (LineProblem::UnclearWeight, "\"weight\" is neither 0 nor 1; write 1, or leave the line out"),
            (
                LineProblem::Rejected { key: "label" },
                "\"label\" is false: this answer was rejected, and is not to be learned; leave the line out",
            ),
            (
                LineProblem::PerhapsRejected { key: "label" },
                "\"label\" is 0, which may mean that this answer was rejected; leave the line out if so, or else the key",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
