//! Scores for a vocabulary that once was SentencePiece's.
//!
//! SentencePiece's BPE joins the two pieces whose union has the best score, `tokenizer.json` those whose merge comes first. Its
//! merges were made by sorting all unions by their scores, so that the place of a piece's first merge gives its score back, up
//! to a function that keeps the order.

use super::tokenizer_json::Model;
use super::{NORMAL, Tokens};
use crate::TokenizerProblem;

/// Of what is no piece of text, as llama.cpp's converter has it.
const NO_SCORE: f32 = -1000.0;

/// A score for each token: `-rank` for a piece that the merges make, and less for the characters that they start with.
pub(super) fn scores(model: &Model, tokens: &Tokens) -> Result<Vec<f32>, TokenizerProblem> {
    // By the texts of the file: in a GGUF some that are found before merging stand for what they mean.
    let ids = model.vocab.by_text();
    let mut ranks: Vec<Option<u32>> = vec![None; tokens.texts.len()];
    let mut made = 0;
    for (place, merge) in model.merges.iter().enumerate() {
        let problem = || TokenizerProblem::Merge { rank: place };
        let (left, right) = merge.pair().ok_or_else(problem)?;
        let union = *ids.get(format!("{left}{right}").as_str()).ok_or_else(problem)? as usize;
        if ranks[union].is_none() {
            ranks[union] = Some(made);
            made += 1;
        }
    }
    let score = |(rank, kind): (&Option<u32>, &i32)| match (rank, *kind) {
        (Some(rank), _) => -(*rank as f32),
        (None, NORMAL) => -(made as f32),
        (None, super::BYTE | super::UNKNOWN) => 0.0,
        (None, _) => NO_SCORE,
    };
    Ok(ranks.iter().zip(&tokens.kinds).map(score).collect())
}

/// The piece that stands for a byte.
pub(super) fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// Whether a piece is one of the 256 that stand for a byte, such as `<0x0A>`.
pub(super) fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}
