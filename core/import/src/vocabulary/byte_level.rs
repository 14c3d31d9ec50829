//! The merges of a byte-level vocabulary, and the characters of its bytes.

use super::tokenizer_json::{Merge, Model};
use crate::TokenizerProblem;

/// As `left right`. In byte-level vocabularies no token has a space, which would make that ambiguous.
pub(super) fn merges(model: &Model) -> Result<Vec<String>, TokenizerProblem> {
    let ids = model.vocab.by_text();
    let text = |merge: &Merge| {
        let (left, right) = merge.pair()?;
        let is_token = |text: &str| ids.contains_key(text) && !text.contains(' ');
        let makes_token = is_token(left) && is_token(right) && is_token(&format!("{left}{right}"));
        makes_token.then(|| format!("{left} {right}"))
    };
    let merges = model.merges.iter().enumerate();
    merges.map(|(rank, merge)| text(merge).ok_or(TokenizerProblem::Merge { rank })).collect()
}

/// The character that stands for a byte (`bytes_to_unicode` of GPT-2): itself if it is printable, else the next one from U+0100
/// on.
pub(super) fn character(byte: u8) -> char {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printable(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&before| !is_printable(before)).count() as u32;
    char::from_u32(0x100 + rank).unwrap_or(char::REPLACEMENT_CHARACTER)
}
