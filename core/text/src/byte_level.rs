//! Byte-level BPE (GGUF's model `gpt2`), on the BPE of the `tokenizers` crate.

use std::ops::Range;

use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};

use super::pre_tokenizer::PreTokenizer;
use crate::{Result, TokenizerProblem};

/// A text that is longer than this is split in parts where that changes nothing, to bound the memory.
const PART_BYTES: usize = 64 << 10;
/// Words whose merges are remembered.
const CACHED_WORDS: usize = 4096;

/// The byte-level BPE of one vocabulary.
#[derive(Debug)]
pub(crate) struct ByteLevel {
    bpe: BPE,
    pre_tokenizer: PreTokenizer,
    /// The character that stands for each byte inside of tokens.
    chars: [char; 256],
}

impl ByteLevel {
    /// Builds the model from its tokens, in the order of their ids, and its merges, "left right" each.
    ///
    /// # Errors
    /// [`TokenizerProblem`] if a merge is malformed or speaks of tokens outside of the vocabulary.
    pub(crate) fn new<'a>(
        tokens: impl Iterator<Item = &'a str>,
        merges: &[String],
        pre_tokenizer: PreTokenizer,
    ) -> Result<Self> {
        let mut vocab = Vocab::default();
        for (id, token) in (0..).zip(tokens) {
            if vocab.insert(token.to_owned(), id).is_some() {
                return Err(TokenizerProblem::RepeatedToken { id: id as usize }.into());
            }
        }
        let mut pairs = Vec::with_capacity(merges.len());
        for (rank, merge) in merges.iter().enumerate() {
            pairs.push(split_merge(merge).ok_or(TokenizerProblem::Merge { rank })?);
        }
        let bpe = BpeBuilder::new()
            .vocab_and_merges(vocab, pairs)
            .cache_capacity(CACHED_WORDS)
            .ignore_merges(pre_tokenizer.ignore_merges)
            .build()
            .map_err(|error| TokenizerProblem::Merges(error.to_string()))?;
        Ok(Self { bpe, pre_tokenizer, chars: byte_chars() })
    }

    /// Appends the tokens of `text[range]` with their places in `text`.
    pub(crate) fn encode(
        &self,
        text: &str,
        range: Range<usize>,
        emit: &mut impl FnMut(u32, Range<usize>),
    ) -> Result<()> {
        let mut encoded = String::new();
        let Range { mut start, end } = range;
        while start < end {
            let part = start..start + part_len(&text[start..end]);
            for word in self.pre_tokenizer.words(&text[part.clone()])? {
                let word = part.start + word.start..part.start + word.end;
                encoded.clear();
                encoded.extend(text[word.clone()].bytes().map(|byte| self.chars[usize::from(byte)]));
                let tokens = self.bpe.tokenize(&encoded);
                let tokens = tokens.map_err(|error| TokenizerProblem::Word(error.to_string()))?;
                place(&encoded, word, tokens, emit);
            }
            start = part.end;
        }
        Ok(())
    }

    /// The id of a token's text.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.bpe.token_to_id(token)
    }

    /// The text of a token, as it stands in the vocabulary.
    pub(crate) fn text(&self, id: u32) -> Option<String> {
        self.bpe.id_to_token(id)
    }

    /// The bytes that a token's text stands for.
    pub(crate) fn bytes(&self, token: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(token.len());
        for char in token.chars() {
            match char_byte(char) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        bytes
    }
}

/// Reports a word's tokens with their places. A character of the encoded word is a byte of the text; bytes
/// that the vocabulary lacks have no token.
fn place(
    encoded: &str,
    word: Range<usize>,
    tokens: Vec<tokenizers::Token>,
    emit: &mut impl FnMut(u32, Range<usize>),
) {
    let mut rest = encoded;
    let mut at = word.start;
    for token in tokens {
        while !rest.is_empty() && !rest.starts_with(&token.value) {
            let mut chars = rest.chars();
            chars.next();
            rest = chars.as_str();
            at += 1;
        }
        let to = (at + token.value.chars().count()).min(word.end);
        rest = rest.get(token.value.len()..).unwrap_or_default();
        emit(token.id, at..to);
        at = to;
    }
}

/// How much of the text can be encoded on its own: all of it, or up to a line end between two characters
/// that are not white space. No pre-tokenizer expression reaches over such a line end, except over one
/// that a slash follows.
fn part_len(text: &str) -> usize {
    let Some(tail) = text.as_bytes().get(PART_BYTES..) else { return text.len() };
    let mut from = 0;
    while let Some(found) = tail[from..].iter().position(|&byte| byte == b'\n') {
        let cut = PART_BYTES + from + found + 1;
        let before = text[..cut - 1].chars().next_back();
        let after = text[cut..].chars().next();
        if before.is_some_and(|char| !char.is_whitespace())
            && after.is_some_and(|char| !char.is_whitespace() && char != '/')
        {
            return cut;
        }
        from += found + 1;
    }
    text.len()
}

/// Splits "left right" at the first space that is not the first character.
fn split_merge(merge: &str) -> Option<(String, String)> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge[first..].find(' ')?;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then(|| (left.to_owned(), right.to_owned()))
}

/// GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 and up.
fn byte_chars() -> [char; 256] {
    let mut next = 256;
    std::array::from_fn(|byte| {
        let code = if is_printable(byte as u32) {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}

/// The byte that a character stands for.
fn char_byte(char: char) -> Option<u8> {
    let code = char as u32;
    let byte = match code {
        _ if code < 256 => is_printable(code).then_some(code)?,
        // The bytes that are not printable are 0..=0x20, 0x7f..=0xa0 and 0xad.
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

fn is_printable(byte: u32) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Error;

    fn model(extra: &[&str], merges: &[&str]) -> ByteLevel {
        let mut tokens: Vec<String> = byte_chars().iter().map(char::to_string).collect();
        tokens.extend(extra.iter().map(|token| (*token).to_owned()));
        let merges: Vec<String> = merges.iter().map(|merge| (*merge).to_owned()).collect();
        ByteLevel::new(tokens.iter().map(String::as_str), &merges, PreTokenizer::named("gpt-2").unwrap())
            .unwrap()
    }

    fn encode(model: &ByteLevel, text: &str) -> Vec<(u32, Range<usize>)> {
        let mut tokens = Vec::new();
        model.encode(text, 0..text.len(), &mut |id, range| tokens.push((id, range))).unwrap();
        tokens
    }

    #[test]
    fn the_alphabet_maps_both_ways() {
        for (byte, char) in (0..=255).zip(byte_chars()) {
            assert_eq!(char_byte(char), Some(byte));
        }
        assert_eq!(byte_chars()[0x20], 'Ġ');
        assert_eq!(char_byte('\u{144}'), None);
    }

    #[test]
    fn merges_apply_by_rank_and_places_are_bytes() {
        let model = model(&["he", "ll", "hell", "Ġhell"], &["h e", "l l", "he ll", "Ġ hell"]);
        let tokens = encode(&model, "hello hell é");
        assert_eq!(
            tokens,
            [(258, 0..4), (111, 4..5), (259, 5..10), (32, 10..11), (195, 11..12), (169, 12..13)]
        );
        assert_eq!(model.bytes("Ġhell"), b" hell");
    }

    #[test]
    fn long_texts_are_split_without_a_trace() {
        let model = model(&["ab", "Ċab", "b."], &["a b", "Ċ ab", "b ."]);
        let line = "ab ab.\nab\n  ab \n\n/ab\n";
        let long = line.repeat(PART_BYTES / line.len() * 3);
        assert!(part_len(&long) < long.len());
        let mut expected = Vec::new();
        for word in model.pre_tokenizer.words(&long).unwrap() {
            let encoded: String = long[word].bytes().map(|byte| model.chars[usize::from(byte)]).collect();
            expected.extend(model.bpe.tokenize(&encoded).unwrap().into_iter().map(|token| token.id));
        }
        let tokens = encode(&model, &long);
        assert!(tokens.iter().map(|(id, _)| *id).eq(expected));
        assert!(tokens.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        assert_eq!(tokens.last().unwrap().1.end, long.len());
    }

    #[test]
    fn broken_merges_are_errors() {
        let pre = || PreTokenizer::named("gpt-2").unwrap();
        let bad = |tokens: [&'static str; 2], merges: &[&str]| {
            let merges: Vec<_> = merges.iter().map(|&merge| merge.to_owned()).collect();
            match ByteLevel::new(tokens.into_iter(), &merges, pre()) {
                Err(Error::Tokenizer { problem }) => problem,
                other => unreachable!("{other:?}"),
            }
        };
        for merge in ["ab", ""] {
            assert_eq!(bad(["a", "b"], &[merge]), TokenizerProblem::Merge { rank: 0 });
        }
        let unknown = bad(["a", "b"], &["a b"]);
        assert!(
            matches!(&unknown, TokenizerProblem::Merges(why) if why.contains("out of vocabulary")),
            "{unknown}"
        );
        assert_eq!(bad(["a", "a"], &[]), TokenizerProblem::RepeatedToken { id: 1 });
    }
}
