//! What is wrong with a chat template.

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

/// Why the template does not tell what the model must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unclear {
    /// What is rendered for the answer does not go on from the generation prompt.
    #[error(
        "it does not write message {message} behind its own prompt for an answer, so what the model must say there is \
         unknown; write the conversation out as {{\"prompt\", \"completion\"}}, the prompt as the model gets it at use"
    )]
    OffPrompt {
        /// The answer, counted from 1 among the messages.
        message: usize,
    },
    /// The generation prompt holds a whole thought, and the answer brings one.
    #[error(
        "its prompt for an answer ends the thought before message {message} begins, so the reasoning of that message \
         cannot be learned; leave it out, or write the conversation out as {{\"prompt\", \"completion\"}}"
    )]
    ThoughtIsOver {
        /// The answer, counted from 1 among the messages.
        message: usize,
    },
    /// No prompt leads to a conversation's first turn.
    #[error(
        "it has no prompt for message {message}, which stands before any question; put a user turn before it, or give it \
         \"weight\": 0"
    )]
    Unprompted {
        /// The turn, counted from 1 among the messages.
        message: usize,
    },
}

/// Something that the answers of a conversation stand on, and that the template does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotShown {
    /// A key beside the messages.
    #[error(
        "it does not show {key:?}, which the answers stand on; take another model, or leave such lines out"
    )]
    Variable {
        /// The key.
        key: &'static str,
    },
    /// A key of a message.
    #[error(
        "it does not show {key:?} of message {message}; take another model, or write the conversation out as \
         {{\"prompt\", \"completion\"}}"
    )]
    Key {
        /// The key.
        key: &'static str,
        /// The message, counted from 1.
        message: usize,
    },
    /// What a tool gave back.
    #[error(
        "it does not show message {message}, the result of a tool; take another model, or write the conversation out as \
         {{\"prompt\", \"completion\"}}"
    )]
    ToolResult {
        /// The message, counted from 1.
        message: usize,
    },
    /// What is to be learned.
    #[error("it does not show the \"content\" of message {message}, which is to be learned")]
    Answer {
        /// The message, counted from 1.
        message: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

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
