//! The merges of a byte-level vocabulary.

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
