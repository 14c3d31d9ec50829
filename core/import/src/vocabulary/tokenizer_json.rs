//! The parts of `tokenizer.json` that become keys of a GGUF, in the forms of all versions of the `tokenizers` crate.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct TokenizerJson {
    #[serde(default)]
    pub added_tokens: Vec<AddedToken>,
    pub normalizer: Option<Value>,
    pub pre_tokenizer: Option<Value>,
    pub post_processor: Option<Value>,
    pub model: Model,
}

/// A token that is found in a text before anything else.
#[derive(Debug, Deserialize)]
pub(super) struct AddedToken {
    pub id: u32,
    pub content: String,
    #[serde(default)]
    pub special: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Model {
    /// Files of early versions have none, and are BPE.
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    pub vocab: Vocab,
    #[serde(default)]
    pub merges: Vec<Merge>,
    #[serde(default)]
    pub byte_fallback: bool,
    #[serde(default)]
    pub ignore_merges: bool,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

impl Model {
    /// What it is, if it is not BPE without marks at the ends of words.
    pub fn foreign_kind(&self) -> Option<String> {
        let is_marked = |mark: &Option<String>| mark.as_ref().is_some_and(|mark| !mark.is_empty());
        match self.kind.as_deref().unwrap_or("BPE") {
            "BPE" if is_marked(&self.continuing_subword_prefix) || is_marked(&self.end_of_word_suffix) => {
                Some("BPE with marks at the ends of words".to_owned())
            }
            "BPE" => None,
            other => Some(other.to_owned()),
        }
    }

    /// Whether it is the token of what the vocabulary cannot say.
    pub fn is_unknown(&self, text: &str) -> bool {
        self.unk_token.as_deref() == Some(text)
    }

    /// The token of what the vocabulary cannot say.
    pub fn unknown(&self) -> Option<&str> {
        self.unk_token.as_deref()
    }
}

/// Two tokens that become one: `"a b"`, or since version 0.20 `["a", "b"]`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a merge is neither a text nor a pair of texts")]
pub(super) enum Merge {
    Text(String),
    Pair([String; 2]),
}

impl Merge {
    /// The two tokens.
    pub fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Self::Text(text) => text.split_once(' '),
            Self::Pair([left, right]) => Some((left, right)),
        }
    }
}

/// Texts and their ids. Vocabularies of other models are lists; they read as empty.
#[derive(Debug, Default)]
pub(super) struct Vocab(Vec<(String, u32)>);

impl Vocab {
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(text, id)| (text.as_str(), *id))
    }

    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(_, id)| *id)
    }

    /// The ids by their texts.
    pub fn by_text(&self) -> HashMap<&str, u32> {
        self.iter().collect()
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from texts to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocab(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab::default())
            }
        }
        deserializer.deserialize_any(Entries)
    }
}
