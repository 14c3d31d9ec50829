//! SentencePiece-style vocabularies (GGUF's model `llama`): characters are merged by the score of the
//! piece they make, the best first and the leftmost of equals, and what is no piece falls back to bytes.
//!
//! The merges are done here and not by the BPE of the `tokenizers` crate: that one ranks *pairs*, so two
//! ways to the same piece cannot be equal as they are here, and for a vocabulary of 262,144 pieces
//! its maps of strings and pairs take ten times the memory.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::pieces::Pieces;
use super::token_kind::TokenKind;
use crate::{Result, TokenizerProblem};

/// Stands for a space inside of pieces.
const SPACE: char = '▁';
/// A text that is longer than this is split in parts where that changes nothing, to bound the memory.
const PART_BYTES: usize = 64 << 10;

/// The pieces of one vocabulary with their scores.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    pieces: Pieces,
    /// The score of each piece; −∞ for pieces that text never merges into (markers, bytes).
    scores: Vec<f32>,
    /// The piece of each byte.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
    /// Whether a text, and text behind a special token, begins with a space that it does not have.
    add_space_prefix: bool,
    /// No piece holds a line end beside anything else: no merge reaches over one.
    lines_are_apart: bool,
}

/// A stretch of text that is a piece or a single character, in a doubly linked list.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    /// In the escaped text.
    start: usize,
    len: usize,
    id: Option<u32>,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that make a piece.
#[derive(Debug, PartialEq)]
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
    id: u32,
}

impl SentencePiece {
    /// Builds the model from its pieces, in the order of their ids.
    ///
    /// # Errors
    /// [`TokenizerProblem`] if a piece is there twice.
    pub(crate) fn new<'a>(
        texts: impl ExactSizeIterator<Item = &'a str>,
        kinds: &[TokenKind],
        mut scores: Vec<f32>,
        unknown: Option<u32>,
        add_space_prefix: bool,
    ) -> Result<Self> {
        let pieces = Pieces::new(texts).map_err(|id| TokenizerProblem::RepeatedToken { id })?;
        scores.resize(pieces.len(), 0.0);
        let mut lines_are_apart = true;
        for (id, (score, kind)) in (0..).zip(scores.iter_mut().zip(kinds)) {
            // A marker that is spelled out in a text stays text.
            if matches!(kind, TokenKind::Control | TokenKind::Unknown | TokenKind::Byte) || score.is_nan() {
                *score = f32::NEG_INFINITY;
            } else if let Some(text) = pieces.text(id) {
                lines_are_apart &= !text.contains('\n') || text.chars().all(|char| char == '\n');
            }
        }
        let bytes = (0..=255u8)
            .map(|byte| {
                let own = || {
                    char::from(byte).is_ascii().then(|| pieces.id(char::from(byte).encode_utf8(&mut [0; 4])))
                };
                pieces.id(&format!("<0x{byte:02X}>")).or_else(|| own().flatten())
            })
            .collect();
        Ok(Self { pieces, scores, bytes, unknown, add_space_prefix, lines_are_apart })
    }

    /// Appends the tokens of `text[range]` with their places in `text`. `at_start`: the text is the first
    /// one, or stands behind a special token.
    pub(crate) fn encode(
        &self,
        text: &str,
        range: Range<usize>,
        at_start: bool,
        emit: &mut impl FnMut(u32, Range<usize>),
    ) -> Result<()> {
        let mut with_prefix = self.add_space_prefix && at_start;
        let Range { mut start, end } = range;
        while start < end {
            let part = start..start + self.part_len(&text[start..end]);
            self.encode_part(text, part.clone(), with_prefix, emit)?;
            start = part.end;
            with_prefix = false;
        }
        Ok(())
    }

    /// The id of a piece's text.
    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.pieces.id(text)
    }

    /// The text of a piece, as it stands in the vocabulary.
    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        self.pieces.text(id)
    }

    /// Whether a text begins with a space that it does not have.
    pub(crate) fn adds_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// The text that a piece stands for.
    pub(crate) fn unescape(text: &str) -> String {
        text.replace(SPACE, " ")
    }

    fn encode_part(
        &self,
        text: &str,
        part: Range<usize>,
        with_prefix: bool,
        emit: &mut impl FnMut(u32, Range<usize>),
    ) -> Result<()> {
        let mut escaped = String::with_capacity(part.len() + part.len() / 4 + 3);
        // Where the text's bytes stand that a character of the escaped text is made from.
        let mut origins = Vec::with_capacity(part.len() + 2);
        if with_prefix {
            escaped.push(SPACE);
            origins.push((0, part.start));
        }
        for (at, char) in text[part.clone()].char_indices() {
            origins.push((escaped.len(), part.start + at));
            escaped.push(if char == ' ' { SPACE } else { char });
        }
        origins.push((escaped.len(), part.end));

        let symbols = self.merge(&escaped);
        let mut at = symbols.first().map(|_| 0);
        let mut char = 0;
        while let Some(symbol) = at.map(|at| symbols[at]) {
            let from = origins[char].1;
            while origins[char].0 < symbol.start + symbol.len {
                char += 1;
            }
            let place = from..origins[char].1;
            match symbol.id {
                Some(id) => emit(id, place),
                None => self.emit_bytes(&escaped[symbol.start..symbol.start + symbol.len], place, emit)?,
            }
            at = symbol.next;
        }
        Ok(())
    }

    /// Merges the characters of `escaped` to pieces. The list begins at index 0.
    fn merge(&self, escaped: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(escaped.len());
        for (start, char) in escaped.char_indices() {
            let index = symbols.len();
            let len = char.len_utf8();
            let id = self.mergeable(&escaped[start..start + len]);
            let next = (start + len < escaped.len()).then_some(index + 1);
            symbols.push(Symbol { start, len, id, previous: index.checked_sub(1), next });
        }
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        for right in 1..symbols.len() {
            self.propose(escaped, &symbols, Some(right - 1), Some(right), &mut queue);
        }
        while let Some(merge) = queue.pop() {
            let (left, right) = (symbols[merge.left], symbols[merge.right]);
            if left.len == 0 || right.len == 0 || left.len + right.len != merge.len {
                continue; // one of the two was merged meanwhile
            }
            symbols[merge.left] = Symbol { len: merge.len, id: Some(merge.id), next: right.next, ..left };
            symbols[merge.right].len = 0;
            if let Some(next) = right.next {
                symbols[next].previous = Some(merge.left);
            }
            self.propose(escaped, &symbols, left.previous, Some(merge.left), &mut queue);
            self.propose(escaped, &symbols, Some(merge.left), right.next, &mut queue);
        }
        symbols
    }

    fn propose(
        &self,
        escaped: &str,
        symbols: &[Symbol],
        left: Option<usize>,
        right: Option<usize>,
        queue: &mut BinaryHeap<Merge>,
    ) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let start = symbols[left].start;
        let len = symbols[left].len + symbols[right].len;
        if let Some(id) = self.mergeable(&escaped[start..start + len]) {
            queue.push(Merge { score: self.scores[id as usize], left, right, len, id });
        }
    }

    fn mergeable(&self, text: &str) -> Option<u32> {
        self.pieces.id(text).filter(|&id| self.scores[id as usize] != f32::NEG_INFINITY)
    }

    fn emit_bytes(
        &self,
        symbol: &str,
        place: Range<usize>,
        emit: &mut impl FnMut(u32, Range<usize>),
    ) -> Result<()> {
        let ids: Option<Vec<u32>> = symbol.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        match (ids, self.unknown) {
            // Each byte has its own place, except where one space of the text is three bytes of the piece.
            (Some(ids), _) => {
                for (index, id) in ids.into_iter().enumerate() {
                    let from = (place.start + index).min(place.end);
                    emit(id, from..(from + 1).min(place.end));
                }
                Ok(())
            }
            (None, Some(unknown)) => {
                emit(unknown, place);
                Ok(())
            }
            (None, None) => Err(TokenizerProblem::Inexpressible.into()),
        }
    }

    /// How much of the text can be encoded on its own: all of it, or up to the end of a run of line ends.
    fn part_len(&self, text: &str) -> usize {
        if !self.lines_are_apart {
            return text.len();
        }
        let Some(tail) = text.as_bytes().get(PART_BYTES..) else { return text.len() };
        let cut = tail.windows(2).position(|pair| pair[0] == b'\n' && pair[1] != b'\n');
        cut.map_or(text.len(), |found| PART_BYTES + found + 1)
    }
}

impl Eq for Merge {}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model(with_bytes: bool) -> SentencePiece {
        let mut texts: Vec<String> = [
            "<unk>", "<s>", "▁", "h", "e", "l", "o", "he", "ll", "hell", "▁he", "lo", "\n", "s", ">", "<",
            "<s",
        ]
        .map(str::to_owned)
        .into();
        let mut kinds = vec![TokenKind::Normal; texts.len()];
        kinds[0] = TokenKind::Unknown;
        kinds[1] = TokenKind::Control;
        if with_bytes {
            texts.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
            kinds.resize(texts.len(), TokenKind::Byte);
        }
        // Earlier pieces merge first.
        let scores = (0..texts.len()).map(|id| -(id as f32)).collect();
        SentencePiece::new(texts.iter().map(String::as_str), &kinds, scores, Some(0), true).unwrap()
    }

    fn encode(model: &SentencePiece, text: &str, at_start: bool) -> Vec<(String, Range<usize>)> {
        let mut tokens = Vec::new();
        let mut emit = |id, range| tokens.push((model.text(id).unwrap().to_owned(), range));
        model.encode(text, 0..text.len(), at_start, &mut emit).unwrap();
        tokens
    }

    fn owned(tokens: &[(&str, Range<usize>)]) -> Vec<(String, Range<usize>)> {
        tokens.iter().map(|(text, range)| ((*text).to_owned(), range.clone())).collect()
    }

    #[test]
    fn merges_go_by_score_and_places_leave_the_prefix_out() {
        let model = model(true);
        assert_eq!(encode(&model, "hello", true), owned(&[("▁", 0..0), ("hell", 0..4), ("o", 4..5)]));
        assert_eq!(encode(&model, "o hel", false), owned(&[("o", 0..1), ("▁he", 1..4), ("l", 4..5)]));
    }

    #[test]
    fn unknown_characters_fall_back_to_bytes_or_to_the_unknown_piece() {
        let bytes = encode(&model(true), "é", false);
        assert_eq!(bytes, owned(&[("<0xC3>", 0..1), ("<0xA9>", 1..2)]));
        assert_eq!(encode(&model(false), "é", false), owned(&[("<unk>", 0..2)]));
    }

    #[test]
    fn spelled_out_markers_stay_text() {
        assert_eq!(encode(&model(true), "<s>", false), owned(&[("<s", 0..2), (">", 2..3)]));
    }

    #[test]
    fn long_texts_are_split_without_a_trace() {
        let model = model(true);
        let line = "hello hell\nlol";
        let long = line.repeat(PART_BYTES / line.len() * 3);
        assert!(model.part_len(&long) < long.len());
        let whole = SentencePiece { lines_are_apart: false, ..self::model(true) };
        assert_eq!(encode(&model, &long, true), encode(&whole, &long, true));
    }
}
