//! What was read from a data file.

use serde::{Deserialize, Serialize};

/// Counts over a data file, or over a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// Training examples.
    pub examples: usize,
    /// Tokens in them.
    pub tokens: usize,
    /// Tokens with a loss.
    pub supervised_tokens: usize,
    /// Lines that were read, blank ones aside; 1 for a `.txt` file.
    pub lines: usize,
    /// Bad lines that were left out because bad lines are to be skipped.
    pub skipped_lines: usize,
    /// Lines that were longer than the context and became several examples.
    pub split_lines: usize,
    /// Lines that lost tokens because they do not fit in the context.
    pub truncated_lines: usize,
    /// How many tokens those lines lost.
    pub truncated_tokens: usize,
}

impl DataReport {
    /// Adds the counts of other lines.
    pub(super) fn add(&mut self, other: &Self) {
        self.examples += other.examples;
        self.tokens += other.tokens;
        self.supervised_tokens += other.supervised_tokens;
        self.lines += other.lines;
        self.skipped_lines += other.skipped_lines;
        self.split_lines += other.split_lines;
        self.truncated_lines += other.truncated_lines;
        self.truncated_tokens += other.truncated_tokens;
    }
}
