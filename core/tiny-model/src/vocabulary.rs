//! Two small vocabularies with which any text can be encoded.

use nightgraft_gguf::{Array, Metadata, Value};
use serde_json::{Map, json};

/// The ChatML template, as SmolLM2 and Qwen2 have it, without a default system message.
pub const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + \
     message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
     {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Kinds of the tokens, as `tokenizer.ggml.token_type` numbers them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// Merges of the byte-level vocabulary, most frequent first; `Ġ` is its space.
const MERGES: &[&str] = &[
    "Ġ t", "h e", "Ġ a", "i n", "r e", "o n", "Ġt he", "e r", "Ġ s", "a t", "n d", "Ġ w", "o u", "Ġ c",
    "i s", "e n", "in g", "l l", "Ġa nd", "o r",
];

/// Pieces of the SentencePiece-style vocabulary, best first; `▁` is its space.
const PIECES: &[&str] = &[
    "▁t", "he", "▁a", "in", "re", "on", "▁the", "er", "▁s", "at", "nd", "▁w", "ou", "▁c", "is", "en", "ing",
    "ll", "▁and", "or",
];

/// How texts become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Byte-level BPE like GPT-2's: three special tokens (`<|endoftext|>` 0, `<|im_start|>` 1,
    /// `<|im_end|>` 2), 256 bytes, 20 merges. No BOS is added; EOS is `<|im_end|>`.
    ByteLevel,
    /// SentencePiece-style with scores: `<unk>` 0, `<s>` 1, `</s>` 2, 256 byte pieces, 20 pieces, and the
    /// printable ASCII characters. BOS and a leading space are added.
    SentencePiece,
}

impl Vocabulary {
    /// How many tokens there are.
    pub fn len(self) -> usize {
        self.tokens().len()
    }

    /// Never.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Adds the tokenizer's keys.
    pub(super) fn describe(self, metadata: &mut Metadata) {
        let tokens = self.tokens();
        let mut put = |key: &str, value| drop(metadata.insert(format!("tokenizer.ggml.{key}"), value));
        match self {
            Self::ByteLevel => {
                put("model", Value::String("gpt2".into()));
                put("pre", Value::String("smollm".into()));
                put("merges", Value::Array(Array::String(MERGES.iter().map(|&m| m.to_owned()).collect())));
                put("bos_token_id", Value::U32(1));
                put("eos_token_id", Value::U32(2));
                put("add_bos_token", Value::Bool(false));
            }
            Self::SentencePiece => {
                put("model", Value::String("llama".into()));
                put("pre", Value::String("default".into()));
                let scores = tokens.iter().map(|(_, _, score)| *score).collect();
                put("scores", Value::Array(Array::F32(scores)));
                put("bos_token_id", Value::U32(1));
                put("eos_token_id", Value::U32(2));
                put("unknown_token_id", Value::U32(0));
                put("add_bos_token", Value::Bool(true));
                put("add_space_prefix", Value::Bool(true));
            }
        }
        put("token_type", Value::Array(Array::I32(tokens.iter().map(|(_, kind, _)| *kind).collect())));
        put("tokens", Value::Array(Array::String(tokens.into_iter().map(|(text, ..)| text).collect())));
    }

    /// The same vocabulary as the `tokenizers` crate writes it.
    pub(super) fn tokenizer_json(self) -> serde_json::Value {
        let tokens = self.tokens();
        let is_added = |kind: i32| matches!(kind, CONTROL | UNKNOWN);
        let added = tokens.iter().enumerate().filter(|(_, (_, kind, _))| is_added(*kind));
        let added: Vec<_> =
            added.map(|(id, (text, ..))| json!({ "id": id, "content": text, "special": true })).collect();
        let vocab: Map<String, serde_json::Value> =
            tokens.iter().enumerate().map(|(id, (text, ..))| (text.clone(), id.into())).collect();
        match self {
            Self::ByteLevel => json!({
                "added_tokens": added,
                "normalizer": null,
                "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                    { "type": "Digits", "individual_digits": true },
                    { "type": "ByteLevel", "add_prefix_space": false, "use_regex": true },
                ] },
                "post_processor": null,
                "model": { "type": "BPE", "vocab": vocab, "merges": MERGES },
            }),
            Self::SentencePiece => {
                let split = |piece: &&str| {
                    let halves = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
                    let mut known = halves.filter(|(a, b)| vocab.contains_key(*a) && vocab.contains_key(*b));
                    known.next().map(|(a, b)| [a.to_owned(), b.to_owned()])
                };
                let merges: Vec<_> = PIECES.iter().filter_map(split).collect();
                json!({
                    "added_tokens": added,
                    "normalizer": { "type": "Sequence", "normalizers": [
                        { "type": "Prepend", "prepend": "▁" },
                        { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
                    ] },
                    "pre_tokenizer": null,
                    "post_processor": { "type": "TemplateProcessing", "single": [
                        { "SpecialToken": { "id": "<s>", "type_id": 0 } },
                        { "Sequence": { "id": "A", "type_id": 0 } },
                    ] },
                    "model": {
                        "type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": true, "unk_token": "<unk>",
                    },
                })
            }
        }
    }

    /// The names of the special tokens, as `transformers` writes them.
    pub(super) fn tokenizer_config(self) -> serde_json::Value {
        match self {
            Self::ByteLevel => json!({ "bos_token": "<|im_start|>", "eos_token": "<|im_end|>" }),
            Self::SentencePiece => json!({ "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>" }),
        }
    }

    /// Text, kind and score of every token.
    fn tokens(self) -> Vec<(String, i32, f32)> {
        match self {
            Self::ByteLevel => {
                let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned);
                let bytes = (0..=255u8).map(|byte| byte_symbol(byte).to_string());
                let merged = MERGES.iter().map(|merge| merge.replacen(' ', "", 1));
                let normal = bytes.chain(merged).map(|text| (text, NORMAL, 0.0));
                special.into_iter().map(|text| (text, CONTROL, 0.0)).chain(normal).collect()
            }
            Self::SentencePiece => {
                let special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];
                let special = special.map(|(text, kind)| (text.to_owned(), kind, 0.0));
                let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), BYTE, 0.0));
                let characters = (b'!'..=b'~').map(|byte| char::from(byte).to_string());
                let pieces = PIECES.iter().map(|&piece| piece.to_owned());
                let scored = pieces
                    .chain(std::iter::once("▁".to_owned()))
                    .chain(characters)
                    .enumerate()
                    .map(|(rank, text)| (text, NORMAL, -(rank as f32)));
                special.into_iter().chain(bytes).chain(scored).collect()
            }
        }
    }
}

/// The printable character that stands for a byte in byte-level vocabularies: itself if printable,
/// otherwise one from 256 up, in order.
fn byte_symbol(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + rank).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_are_unique() {
        for (vocabulary, len) in [(Vocabulary::ByteLevel, 279), (Vocabulary::SentencePiece, 374)] {
            let tokens = vocabulary.tokens();
            assert_eq!(tokens.len(), len);
            let texts: HashSet<_> = tokens.iter().map(|(text, ..)| text).collect();
            assert_eq!(texts.len(), len, "{vocabulary:?}");
        }
    }

    #[test]
    fn bytes_have_gpt2s_symbols() {
        assert_eq!([b' ', b'\n', b'A', 0, 0xad].map(byte_symbol), ['Ġ', 'Ċ', 'A', 'Ā', 'Ń']);
    }
}
