//! `tokenizer.json` and the files beside it, as the keys below `tokenizer.` of a GGUF.
//!
//! GGUF knows two kinds of these families' vocabularies: `gpt2`, byte-level BPE with a named cut into words, and `llama`,
//! SentencePiece's BPE with a score for each piece.

mod byte_level;
mod chat_template;
mod pre_tokenizer;
mod sentence_piece;
mod special;
mod tokenizer_json;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use nightgraft_gguf::{Array, Metadata, Value};

use self::special::Special;
use self::tokenizer_json::{AddedToken, TokenizerJson};
use crate::config::Config;
use crate::json::{MAX_TOKENIZER, read_needed};
use crate::{Error, Result, TokenizerProblem};

pub(crate) use chat_template::FILES as TEMPLATE_FILES;
pub(crate) use special::{GENERATION, NAMES as SPECIAL_NAMES, TOKENIZER, describe_sampling};

pub(crate) const FILE: &str = "tokenizer.json";

/// Kinds of tokens, as `tokenizer.ggml.token_type` numbers them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Tokens by their ids.
struct Tokens {
    texts: Vec<String>,
    kinds: Vec<i32>,
}

/// Adds the keys of the tokenizer for an embedding of `n_vocab` rows.
pub(crate) fn describe(folder: &Path, config: &Config, n_vocab: u64, metadata: &mut Metadata) -> Result<()> {
    let path = folder.join(FILE);
    let wrong = |problem| Error::Tokenizer { path: path.clone(), problem };
    let json: TokenizerJson = read_needed(folder, FILE, MAX_TOKENIZER)?;
    if let Some(kind) = json.model.foreign_kind() {
        return Err(wrong(TokenizerProblem::Model { kind }));
    }
    let kind = pre_tokenizer::classify(&json).map_err(wrong)?;
    require_all_bytes(&json, kind).map_err(wrong)?;
    let tokens = tokens(&json, n_vocab, &kind).map_err(wrong)?;
    let ids: HashMap<&str, usize> =
        tokens.texts.iter().enumerate().map(|(id, text)| (text.as_str(), id)).collect();
    if ids.len() < tokens.texts.len() {
        return Err(wrong(repeated(&tokens.texts)));
    }
    let special = Special::read(folder, config, &json, &ids)?;

    let mut put = |key: &str, value| drop(metadata.insert(format!("tokenizer.ggml.{key}"), value));
    match kind {
        Kind::ByteLevel { cut } => {
            put("model", Value::String("gpt2".to_owned()));
            put("pre", Value::String(cut.to_owned()));
            let merges = byte_level::merges(&json.model).map_err(wrong)?;
            put("merges", Value::Array(Array::String(merges)));
        }
        Kind::SentencePiece { space_before } => {
            put("model", Value::String("llama".to_owned()));
            put("pre", Value::String("default".to_owned()));
            let scores = sentence_piece::scores(&json.model, &tokens).map_err(wrong)?;
            put("scores", Value::Array(Array::F32(scores)));
            put("add_space_prefix", Value::Bool(space_before));
        }
    }
    special.write(&mut put);
    put("token_type", Value::Array(Array::I32(tokens.kinds)));
    put("tokens", Value::Array(Array::String(tokens.texts)));
    chat_template::describe(folder, metadata)
}

/// The two kinds of vocabularies that import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Every byte is a character; texts are cut into words in the way that llama.cpp calls `cut`.
    ByteLevel { cut: &'static str },
    /// Spaces are `▁`; whether one is put before a text.
    SentencePiece { space_before: bool },
}

/// Texts are bytes: a vocabulary that lacks one cannot say every text.
fn require_all_bytes(json: &TokenizerJson, kind: Kind) -> Result<(), TokenizerProblem> {
    let ids = json.model.vocab.by_text();
    let text = |byte: u8| match kind {
        Kind::ByteLevel { .. } => byte_level::character(byte).to_string(),
        Kind::SentencePiece { .. } => sentence_piece::byte_piece(byte),
    };
    let missing = (0..=u8::MAX).find(|&byte| !ids.contains_key(text(byte).as_str()));
    missing.map_or(Ok(()), |byte| Err(TokenizerProblem::NoByte { byte }))
}

/// Every row of the embedding gets a token: those without one are `[PAD…]`, as in llama.cpp's converter.
fn tokens(json: &TokenizerJson, n_vocab: u64, kind: &Kind) -> Result<Tokens, TokenizerProblem> {
    let n = usize::try_from(n_vocab).unwrap_or(usize::MAX);
    let ids = json.model.vocab.ids().chain(json.added_tokens.iter().map(|token| token.id));
    if let Some(id) = ids.filter(|&id| id as usize >= n).min() {
        return Err(TokenizerProblem::Vocabulary { id, rows: n_vocab });
    }
    let mut tokens = Tokens { texts: vec![String::new(); n], kinds: vec![UNUSED; n] };
    let mut occupied = HashMap::new();
    let others = json.added_tokens.iter().map(|token| (token.content.as_str(), token.id));
    for (text, id) in json.model.vocab.iter().chain(others) {
        if let Some(first) = occupied.insert(id, text).filter(|&first| first != text) {
            let (first, second) = (first.to_owned(), text.to_owned());
            return Err(TokenizerProblem::RepeatedId { id, first, second });
        }
    }
    for (text, id) in json.model.vocab.iter() {
        let kind = match kind {
            Kind::SentencePiece { .. } if json.model.is_unknown(text) => UNKNOWN,
            Kind::SentencePiece { .. } if sentence_piece::is_byte(text) => BYTE,
            _ => NORMAL,
        };
        tokens.texts[id as usize] = text.to_owned();
        tokens.kinds[id as usize] = kind;
    }
    for token in &json.added_tokens {
        let id = token.id as usize;
        let (text, kind) = added(token, tokens.kinds[id]);
        tokens.texts[id] = text;
        tokens.kinds[id] = kind;
    }
    for (id, text) in tokens.texts.iter_mut().enumerate() {
        if text.is_empty() {
            *text = format!("[PAD{id}]");
            tokens.kinds[id] = UNUSED;
        }
    }
    Ok(tokens)
}

/// Markers become control tokens, also those that are not called special (llama.cpp's `does_token_look_special`); everything
/// else is looked for in a text before it is cut, as the text that it stands for.
fn added(token: &AddedToken, kind: i32) -> (String, i32) {
    let text = &token.content;
    let is_between = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
    let looks_special = matches!(text.as_str(), "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || is_between("<|", "|>")
        || is_between("<｜", "｜>")
        || is_between("<unused", ">");
    if kind == UNKNOWN || kind == BYTE {
        (text.clone(), kind)
    } else if token.special || looks_special {
        (text.clone(), CONTROL)
    } else {
        (text.replace('▁', " "), USER_DEFINED)
    }
}

/// llama.cpp ends the process when two tokens have the same text.
fn repeated(texts: &[String]) -> TokenizerProblem {
    let mut first = HashMap::new();
    for (second, text) in texts.iter().enumerate() {
        if let Some(first) = first.insert(text, second) {
            return TokenizerProblem::RepeatedToken { first, second };
        }
    }
    TokenizerProblem::RepeatedToken { first: 0, second: 0 }
}
