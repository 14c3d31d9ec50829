//! Splitting a text at the tokens that stand apart from ordinary text.

use std::ops::Range;

use super::token_kind::TokenKind;

/// A stretch of a text: a special token, or text that the model's own algorithm has to split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Where it stands in the text, in bytes.
    pub(crate) range: Range<usize>,
    /// The special token, if it is one.
    pub(crate) id: Option<u32>,
}

/// The special tokens of a vocabulary, longest first.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    tokens: Vec<SpecialToken>,
}

#[derive(Debug)]
struct SpecialToken {
    id: u32,
    text: String,
    /// User-defined tokens are found always, the others only on demand.
    always: bool,
    /// Swallows the white space behind it.
    strips_right: bool,
}

/// Which pairs of neighbouring bytes occur in a text, as a bit set: tells quickly that a token cannot occur.
struct BytePairs([u64; 1024]);

impl SpecialTokens {
    /// Collects the special tokens among `(id, text, kind)`.
    pub(crate) fn new<'a>(tokens: impl Iterator<Item = (u32, &'a str, TokenKind)>) -> Self {
        let mut tokens: Vec<_> = tokens
            .filter(|(_, text, kind)| kind.is_special() && !text.is_empty())
            .map(|(id, text, kind)| SpecialToken {
                id,
                text: text.to_owned(),
                always: kind == TokenKind::UserDefined,
                strips_right: false,
            })
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
        tokens.shrink_to_fit();
        Self { tokens }
    }

    /// Lets the tokens for which `strips` holds swallow the white space behind them.
    pub(crate) fn strip_right(&mut self, strips: impl Fn(&str) -> bool) {
        for token in &mut self.tokens {
            token.strips_right = strips(&token.text);
        }
    }

    /// Splits `text`. Longer tokens are looked for first, each from left to right; control tokens only
    /// if `parse_special`.
    pub(crate) fn partition(&self, text: &str, parse_special: bool) -> Vec<Fragment> {
        let mut fragments = Vec::new();
        if text.is_empty() {
            return fragments;
        }
        fragments.push(Fragment { range: 0..text.len(), id: None });
        let pairs = BytePairs::of(text);
        for token in &self.tokens {
            if (token.always || parse_special) && pairs.may_hold(&token.text) && text.contains(&token.text) {
                fragments = split_at(token, text, fragments);
            }
        }
        fragments
    }
}

/// Splits the plain fragments at each occurrence of `token`.
fn split_at(token: &SpecialToken, text: &str, fragments: Vec<Fragment>) -> Vec<Fragment> {
    let mut split = Vec::with_capacity(fragments.len() + 2);
    for fragment in fragments {
        if fragment.id.is_some() {
            split.push(fragment);
            continue;
        }
        let Range { mut start, end } = fragment.range;
        while let Some(found) = text[start..end].find(&token.text) {
            let (from, to) = (start + found, start + found + token.text.len());
            if from > start {
                split.push(Fragment { range: start..from, id: None });
            }
            split.push(Fragment { range: from..to, id: Some(token.id) });
            start = to;
            if token.strips_right {
                let rest = text[start..end].trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
                start = end - rest.len();
            }
        }
        if start < end {
            split.push(Fragment { range: start..end, id: None });
        }
    }
    split
}

impl BytePairs {
    fn of(text: &str) -> Self {
        let mut bits = [0; 1024];
        for pair in text.as_bytes().windows(2) {
            let index = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            bits[index / 64] |= 1 << (index % 64);
        }
        Self(bits)
    }

    fn may_hold(&self, token: &str) -> bool {
        match *token.as_bytes() {
            [a, b, ..] => {
                let index = usize::from(a) << 8 | usize::from(b);
                self.0[index / 64] & 1 << (index % 64) != 0
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(
        tokens: &[(u32, &str, TokenKind)],
        text: &str,
        parse_special: bool,
    ) -> Vec<(String, Option<u32>)> {
        let special = SpecialTokens::new(tokens.iter().copied());
        let fragments = special.partition(text, parse_special);
        fragments.into_iter().map(|fragment| (text[fragment.range].to_owned(), fragment.id)).collect()
    }

    #[test]
    fn longer_tokens_come_first_and_control_tokens_on_demand() {
        let tokens = [
            (1, "  ", TokenKind::UserDefined),
            (2, "    ", TokenKind::UserDefined),
            (3, "<end>", TokenKind::Control),
            (4, "plain", TokenKind::Normal),
        ];
        let expected = vec![
            ("a".to_owned(), None),
            ("    ".to_owned(), Some(2)),
            ("  ".to_owned(), Some(1)),
            (" plain".to_owned(), None),
            ("<end>".to_owned(), Some(3)),
        ];
        assert_eq!(partition(&tokens, "a       plain<end>", true), expected);
        let plain = partition(&tokens, "x<end>  ", false);
        assert_eq!(plain, vec![("x<end>".to_owned(), None), ("  ".to_owned(), Some(1))]);
        assert!(partition(&tokens, "", true).is_empty());
    }

    #[test]
    fn a_stripping_token_swallows_white_space_behind_it() {
        let tokens = [(7, "<|end|>", TokenKind::Control)];
        let mut special = SpecialTokens::new(tokens.into_iter());
        special.strip_right(|text| text == "<|end|>");
        let fragments = special.partition("a <|end|> \n b", true);
        assert_eq!(
            fragments,
            vec![
                Fragment { range: 0..2, id: None },
                Fragment { range: 2..9, id: Some(7) },
                Fragment { range: 12..13, id: None },
            ]
        );
    }
}
