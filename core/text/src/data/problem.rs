//! What is wrong with a data file.

use super::line_problem::LineProblem;

/// Why a data file, or a line of it, cannot be used. None holds what somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataProblem {
    /// A line that does not have one of the known shapes.
    #[error(transparent)]
    Line(#[from] LineProblem),
    /// Bytes that are no text.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// A file that ends in `.json`.
    #[error(
        "data is read from .jsonl files with one whole object a line; jq -c . FILE > NEW.jsonl writes objects so, jq -c '.[]' \
         FILE > NEW.jsonl those of an array"
    )]
    Json,
    /// A file whose name does not tell how it is read.
    #[error(
        "not a known kind of data file; use .txt (plain text) or .jsonl (one JSON object a line: {{\"text\"}}, {{\"prompt\", \
         \"completion\"}}, {{\"messages\"}} or {{\"input_ids\", \"labels\"}}), or say which it is with --format"
    )]
    UnknownKind,
    /// A file that is larger than what is held in memory.
    #[error("larger than {}; split it into several files", size(*limit))]
    FileTooLarge {
        /// Bytes that it may have.
        limit: u64,
    },
    /// A text file that is larger than one example.
    #[error("larger than {} as an example; split it into several files", size(*limit))]
    ExampleTooLarge {
        /// Bytes that it may have.
        limit: u64,
    },
    /// A file with nothing in it.
    #[error("holds nothing to learn from")]
    Empty,
    /// A file of lines that were all skipped.
    #[error(
        "holds nothing to learn from; all of its {lines} lines are bad, see the first one without --skip-bad"
    )]
    AllSkipped {
        /// How many they are.
        lines: usize,
    },
    /// A file of lines none of which can be kept.
    #[error("all of its lines are bad")]
    AllBad,
    /// A line without a token behind the first.
    #[error("too short: no token is left to learn")]
    TooShort,
    /// A conversation, for a model that knows none.
    #[error("the model has no chat template; use {{\"prompt\", \"completion\"}} or {{\"text\"}}")]
    NoTemplate,
    /// Data without an example to take the gradients of.
    #[error("no example to differentiate")]
    NothingToDifferentiate,
    /// Lines to measure a model on, of which it takes none.
    #[error("holds no line that this model can be measured on")]
    NothingToMeasure,
    /// A problem of a file that was taken for JSON lines without anybody saying so.
    #[error("{0}; it was read as JSON lines: --format text reads plain text")]
    Assumed(Box<Self>),
    /// A file that is no trace of a night. Its reader has the words for it.
    #[error("{0}")]
    Trace(String),
}

/// A limit in the largest unit of which it is a whole number.
fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        for (problem, words) in [
            (LineProblem::TooLong.into(), "longer than 16 MiB"),
            (DataProblem::NotUtf8, "not valid UTF-8"),
            (
                DataProblem::Json,
                "data is read from .jsonl files with one whole object a line; jq -c . FILE > NEW.jsonl writes objects so, \
                 jq -c '.[]' FILE > NEW.jsonl those of an array",
            ),
            (
                DataProblem::UnknownKind,
                "not a known kind of data file; use .txt (plain text) or .jsonl (one JSON object a line: {\"text\"}, \
                 {\"prompt\", \"completion\"}, {\"messages\"} or {\"input_ids\", \"labels\"}), or say which it is with \
                 --format",
            ),
            (
                DataProblem::FileTooLarge { limit: 128 << 20 },
                "larger than 128 MiB; split it into several files",
            ),
            (DataProblem::FileTooLarge { limit: 2 << 30 }, "larger than 2 GiB; split it into several files"),
            (
                DataProblem::ExampleTooLarge { limit: 16 << 20 },
                "larger than 16 MiB as an example; split it into several files",
            ),
            (DataProblem::Empty, "holds nothing to learn from"),
            (
                DataProblem::AllSkipped { lines: 2 },
                "holds nothing to learn from; all of its 2 lines are bad, see the first one without --skip-bad",
            ),
            (DataProblem::AllBad, "all of its lines are bad"),
            (DataProblem::TooShort, "too short: no token is left to learn"),
            (
                DataProblem::NoTemplate,
                "the model has no chat template; use {\"prompt\", \"completion\"} or {\"text\"}",
            ),
            (DataProblem::NothingToDifferentiate, "no example to differentiate"),
            (DataProblem::NothingToMeasure, "holds no line that this model can be measured on"),
            (
                DataProblem::Assumed(Box::new(DataProblem::NotUtf8)),
                "not valid UTF-8; it was read as JSON lines: --format text reads plain text",
            ),
            (DataProblem::Trace("no trace".into()), "no trace"),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
