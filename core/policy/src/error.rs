//! What is wrong with rules that somebody wrote.

/// A rule that makes no sense, alone or with the others, or a text that holds no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct InvalidRule {
    /// Which rule it is, or the option that gave the text.
    pub option: &'static str,
    /// What is wrong and which values are allowed.
    pub problem: String,
}

/// What reads and checks rules returns.
pub(crate) type Result<T, E = InvalidRule> = std::result::Result<T, E>;
