//! What was read from a data file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// More keys than this are not told apart: they are names that a program made up.
const MAX_UNUSED_KEYS: usize = 32;
/// Stands for the keys beyond [`MAX_UNUSED_KEYS`].
const OTHER_KEYS: &str = "...";

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
    /// Conversations of several examples, because the template shows a turn otherwise once later ones follow: each
    /// answer is learned behind the prompt that stands before it at that moment.
    #[serde(default)]
    pub separated_lines: usize,
    /// Conversations in which the template ends an answer without a token that ends a generation. The end-of-text
    /// token is learned there; without it a model would not stop.
    #[serde(default)]
    pub unclosed_lines: usize,
    /// Lines with a prompt and a completion that are texts.
    #[serde(default)]
    pub completion_lines: usize,
    /// Whether the chat template asked for the date, to render any of them.
    #[serde(default)]
    pub is_dated: bool,
    /// Keys that had no effect, with the number of lines that have them: nothing reads them, or the chat template
    /// does not show them. A key of a message is written `messages[].key`.
    #[serde(default)]
    pub unused_keys: BTreeMap<String, usize>,
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
        self.separated_lines += other.separated_lines;
        self.unclosed_lines += other.unclosed_lines;
        self.completion_lines += other.completion_lines;
        self.is_dated |= other.is_dated;
        for (key, &lines) in &other.unused_keys {
            self.add_unused_key(key, lines);
        }
    }

    /// Counts a key without effect on so many lines.
    pub(super) fn add_unused_key(&mut self, key: &str, lines: usize) {
        let is_told_apart = self.unused_keys.contains_key(key) || self.unused_keys.len() < MAX_UNUSED_KEYS;
        let key = if is_told_apart { key } else { OTHER_KEYS };
        *self.unused_keys.entry(key.to_owned()).or_default() += lines;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_name_and_endless_ones_together() {
        let mut report = DataReport::default();
        for line in 0..100 {
            let mut other = DataReport { lines: 1, ..DataReport::default() };
            other.add_unused_key("id", 1);
            other.add_unused_key(&format!("key {line}"), 1);
            report.add(&other);
        }
        assert_eq!(report.lines, 100);
        assert_eq!(report.unused_keys["id"], 100);
        assert_eq!(report.unused_keys.len(), MAX_UNUSED_KEYS + 1);
        assert_eq!(report.unused_keys.values().sum::<usize>(), 200);
    }
}
