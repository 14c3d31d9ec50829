//! What of the data was not taken as it stands, in words: the same for every command that reads data.

use nightgraft_core::session::DataReport;

/// A sentence for each kind of loss; none for data that was taken whole.
pub fn sentences(report: &DataReport) -> Vec<String> {
    let DataReport { lines, skipped_lines, truncated_lines, truncated_tokens, tokens, .. } = *report;
    let DataReport { separated_lines, unclosed_lines, .. } = *report;
    let mut sentences = Vec::new();
    if skipped_lines > 0 {
        sentences.push(bad_lines(skipped_lines, lines));
    }
    if truncated_tokens > 0 {
        sentences.push(format!(
            "{} longer than --context: {truncated_tokens} tokens were left out, beside the {tokens} that are used",
            count(truncated_lines, "line is", "lines are")
        ));
    }
    if separated_lines > 0 {
        sentences.push(format!(
            "{} rendered otherwise once later turns follow: each answer is an example of its own",
            count(separated_lines, "conversation is", "conversations are")
        ));
    }
    if unclosed_lines > 0 {
        sentences.push(format!(
            "the chat template ends the answers of {} with no token; the end-of-text token is learned there",
            count(unclosed_lines, "conversation", "conversations")
        ));
    }
    let unused = |(key, &n): (&String, &usize)| format!("{key:?} on {}", count(n, "line", "lines"));
    let unused: Vec<_> = report.unused_keys.iter().map(unused).collect();
    if !unused.is_empty() {
        sentences.push(format!("keys without effect: {}", unused.join(", ")));
    }
    sentences
}

/// Bad lines of a file, of so many in all.
pub fn bad_lines(skipped: usize, lines: usize) -> String {
    format!("{skipped} of {} could not be used and {} left out", count(lines, "line", "lines"), were(skipped))
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn were(n: usize) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_told() {
        assert_eq!(
            sentences(&DataReport { lines: 4, examples: 9, split_lines: 2, ..DataReport::default() }),
            [""; 0]
        );
        let report = DataReport {
            lines: 4,
            skipped_lines: 3,
            truncated_lines: 1,
            truncated_tokens: 900,
            tokens: 256,
            unclosed_lines: 1,
            unused_keys: [("id".to_owned(), 4), ("weight".to_owned(), 1)].into(),
            ..DataReport::default()
        };
        assert_eq!(
            sentences(&report),
            [
                "3 of 4 lines could not be used and were left out",
                "1 line is longer than --context: 900 tokens were left out, beside the 256 that are used",
                "the chat template ends the answers of 1 conversation with no token; the end-of-text token is learned there",
                "keys without effect: \"id\" on 4 lines, \"weight\" on 1 line",
            ]
        );
    }
}
