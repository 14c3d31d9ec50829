#![allow(clippy::unwrap_used)]

use nightgraft_gguf::{Array, Value};

use super::*;
use crate::Error;

/// A byte-level vocabulary of the 256 bytes and some markers, without merges, in the GPT-2 family.
pub(crate) fn byte_level(extra: &[(&str, i32)], settings: &[(&str, Value)]) -> Metadata {
    let mut texts: Vec<String> = Vec::new();
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    for byte in 0..256 {
        let code = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        texts.push(char::from_u32(code).unwrap().to_string());
    }
    let mut kinds = vec![1; 256];
    for (text, kind) in extra {
        texts.push((*text).to_owned());
        kinds.push(*kind);
    }
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String("gpt-2".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(vec![])));
    for (key, value) in settings {
        metadata.insert(format!("tokenizer.ggml.{key}"), value.clone());
    }
    metadata
}

fn problem(metadata: &Metadata) -> TokenizerProblem {
    match Tokenizer::from_gguf(metadata) {
        Err(Error::Tokenizer { problem }) => problem,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn special_tokens_are_found_on_demand_and_user_defined_ones_always() {
    let metadata = byte_level(&[("<|im_end|>", 3), ("<tag>", 4)], &[("eos_token_id", Value::U32(256))]);
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    assert_eq!(tokenizer.encode("a<|im_end|><tag>b", true).unwrap(), [97, 256, 257, 98]);
    assert_eq!(tokenizer.encode("a<tag>b", false).unwrap(), [97, 257, 98]);
    assert_eq!(tokenizer.encode("<|im_end|>", false).unwrap().len(), 10);
    assert_eq!(tokenizer.decode(&[97, 256, 257, 98, 9999]), "a<tag>b");
    assert_eq!(tokenizer.piece(256), b"<|im_end|>");
    assert_eq!((tokenizer.eos(), tokenizer.eot()), (Some(256), Some(256)));
    assert!(tokenizer.is_end_of_generation(256) && !tokenizer.is_end_of_generation(257));
    assert_eq!(tokenizer.n_vocab(), 258);
}

#[test]
fn bos_comes_once_and_only_where_it_is_wanted() {
    let settings = [("bos_token_id", Value::U32(256)), ("add_bos_token", Value::Bool(true))];
    let wanted = Tokenizer::from_gguf(&byte_level(&[("<s>", 3)], &settings)).unwrap();
    assert_eq!(wanted.encode_with_bos("ab", true).unwrap(), [256, 97, 98]);
    assert_eq!(wanted.encode_with_bos("<s>ab", true).unwrap(), [256, 97, 98]);
    assert_eq!(wanted.encode_with_bos("<s>", false).unwrap(), [256, 60, 115, 62]);
    assert_eq!(wanted.encode_with_bos("", true).unwrap(), [256]);
    let unwanted = Tokenizer::from_gguf(&byte_level(&[("<s>", 3)], &settings[..1])).unwrap();
    assert_eq!(unwanted.encode_with_bos("ab", true).unwrap(), [97, 98]);
}

#[test]
fn ranges_are_bytes_of_the_text() {
    let tokenizer = Tokenizer::from_gguf(&byte_level(&[("<x>", 3)], &[])).unwrap();
    let encoding = tokenizer.encode_with_ranges("é<x> ", true).unwrap();
    assert_eq!(encoding.ids, [0xc3, 0xa9, 256, 32]);
    assert_eq!(encoding.ranges, [0..1, 1..2, 2..5, 5..6]);
}

#[test]
fn tokens_that_look_like_markers_are_markers() {
    let extra =
        [("<|eot_id|>", 1), ("<|fim_middle|>", 4), ("<|end|>", 3), ("<|return|>", 3), ("<|call|>", 3)];
    let tokenizer = Tokenizer::from_gguf(&byte_level(&extra, &[])).unwrap();
    assert_eq!(tokenizer.kind(256), Some(TokenKind::Control));
    assert_eq!(tokenizer.kind(257), Some(TokenKind::Control));
    assert_eq!(tokenizer.eot(), Some(256));
    // <|end|> only ends a message where there are <|return|> and <|call|>.
    assert!(!tokenizer.is_end_of_generation(258) && tokenizer.is_end_of_generation(259));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_name() {
    let missing = TokenizerProblem::Missing { key: "tokenizer.ggml.model" };
    assert_eq!(problem(&Metadata::new()), missing);
    let unknown = byte_level(&[], &[("model", Value::String("t5".into()))]);
    assert_eq!(problem(&unknown), TokenizerProblem::Vocabulary { name: "t5".into() });
    let pre = byte_level(&[], &[("pre", Value::String("odd".into()))]);
    assert_eq!(problem(&pre), TokenizerProblem::PreTokenizer { name: "odd".into() });
    let short = byte_level(&[], &[("token_type", Value::Array(Array::I32(vec![1; 3])))]);
    let lengths = TokenizerProblem::Lengths { key: "tokenizer.ggml.token_type", entries: 3, tokens: 256 };
    assert_eq!(problem(&short), lengths);
    let empty = byte_level(&[], &[("tokens", Value::Array(Array::String(vec![])))]);
    assert_eq!(problem(&empty), TokenizerProblem::Size { tokens: 0 });
    assert_eq!(problem(&byte_level(&[("a", 1)], &[])), TokenizerProblem::RepeatedToken { id: 256 });
    let out_of_range = byte_level(&[], &[("bos_token_id", Value::U32(9999))]);
    assert_eq!(Tokenizer::from_gguf(&out_of_range).unwrap().bos(), Some(11));
}
