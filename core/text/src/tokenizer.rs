//! The tokenizer of a GGUF file.

use std::collections::BTreeSet;
use std::ops::Range;

use nightgraft_gguf::Metadata;

use super::byte_level::ByteLevel;
use super::pre_tokenizer::PreTokenizer;
use super::sentence_piece::SentencePiece;
use super::special::SpecialTokens;
use super::token_kind::{TokenKind, find_ends};
use crate::{Result, TokenizerProblem};

/// Turns text into the token ids of one model, and back.
///
/// Ids agree with those of llama.cpp on the same file, with two exceptions. A control token of a
/// SentencePiece-style vocabulary that is spelled out in a text is never put together by merging: it is
/// found when special tokens are asked for, or stays text. And characters that Unicode has assigned since
/// version 15 are classified here, while llama.cpp does not know them yet.
#[derive(Debug)]
pub struct Tokenizer {
    model: Model,
    kinds: Vec<TokenKind>,
    special: SpecialTokens,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    ends: BTreeSet<u32>,
    add_bos: bool,
    add_eos: bool,
}

#[derive(Debug)]
enum Model {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(SentencePiece),
}

/// Token ids with the bytes of the text that each one stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// The token ids. `[n_tokens]`
    pub ids: Vec<u32>,
    /// Byte ranges of the text, in order; empty for tokens that stand for nothing in it, such as BOS. A
    /// character of several tokens is shared out among them byte by byte. `[n_tokens]`
    pub ranges: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Builds the tokenizer from a file's metadata.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if the vocabulary is missing, malformed or of a kind that is not supported.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        let name = metadata.string("tokenizer.ggml.model").ok_or_else(|| missing("tokenizer.ggml.model"))?;
        let tokens = Vocabulary::read(metadata)?;
        let n_vocab = tokens.texts.len();
        let mut kinds = tokens.kinds;
        let id = |key: &str| {
            let id = metadata.u64(&format!("tokenizer.ggml.{key}_token_id"))?;
            u32::try_from(id).ok().filter(|&id| (id as usize) < n_vocab)
        };
        let in_vocabulary = |id: u32| Some(id).filter(|&id| (id as usize) < n_vocab);
        let (default_bos, default_eos, add_bos, pre_tokenizer) = match name {
            "gpt2" => {
                let pre = PreTokenizer::named(metadata.string("tokenizer.ggml.pre").unwrap_or_default())?;
                (in_vocabulary(11), in_vocabulary(11), pre.add_bos, Some(pre))
            }
            "llama" => (in_vocabulary(1), in_vocabulary(2), true, None),
            other => return Err(TokenizerProblem::Vocabulary { name: other.to_owned() }.into()),
        };
        let texts = || tokens.texts.iter().map(|text| text.as_ref());
        let model = match pre_tokenizer {
            Some(pre) => {
                let key = "tokenizer.ggml.merges";
                let merges = metadata.strings(key).ok_or_else(|| missing(key))?;
                Model::ByteLevel(Box::new(ByteLevel::new(texts(), merges, pre)?))
            }
            None => {
                let unknown = id("unknown").or(in_vocabulary(0));
                let prefix = metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
                Model::SentencePiece(SentencePiece::new(texts(), &kinds, tokens.scores, unknown, prefix)?)
            }
        };
        let eos = id("eos").or(default_eos);
        let named = [eos, id("eom"), id("fim_pad"), id("fim_rep"), id("fim_sep")];
        let ends = find_ends(&mut kinds, id("eot"), &named, |text| model.id(text));
        let special =
            (0..).zip(&tokens.texts).zip(&kinds).map(|((id, text), kind)| (id, text.as_ref(), *kind));
        let mut special = SpecialTokens::new(special);
        let model_name = metadata.string("general.name").unwrap_or_default().to_lowercase();
        if model_name.contains("phi-3") || model_name.contains("phi3") {
            special.strip_right(|text| !matches!(text, "<unk>" | "<s>" | "<|endoftext|>"));
        }
        let bos = id("bos").or(default_bos);
        Ok(Self {
            model,
            kinds,
            special,
            bos,
            eos,
            eot: ends.eot,
            ends: ends.ids,
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token").unwrap_or(add_bos) && bos.is_some(),
            add_eos: metadata.bool("tokenizer.ggml.add_eos_token").unwrap_or(false) && eos.is_some(),
        })
    }

    /// The ids of `text`, without BOS and EOS.
    ///
    /// With `parse_special`, markers such as `<|im_end|>` become the tokens that they name; without it they
    /// are ordinary text, and only user-defined tokens are found.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if the vocabulary cannot express the text.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        self.encode_each(text, parse_special, true, &mut |id, _| ids.push(id))?;
        Ok(ids)
    }

    /// The ids of a text that goes on behind the tokens `before`: as [`Tokenizer::encode`], but without the space that a
    /// SentencePiece-style model puts before a text, unless a marker stands there.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if the vocabulary cannot express the text.
    pub fn encode_behind(&self, before: &[u32], text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let at_start = before.last().is_none_or(|&id| self.kind(id).is_some_and(TokenKind::is_special));
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        self.encode_each(text, parse_special, at_start, &mut |id, _| ids.push(id))?;
        Ok(ids)
    }

    /// As [`Tokenizer::encode`], with BOS first if the model wants one and the text does not begin with it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if the vocabulary cannot express the text.
    pub fn encode_with_bos(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        Ok(self.encode_with_ranges(text, parse_special)?.ids)
    }

    /// As [`Tokenizer::encode_with_bos`], with the place of each token in the text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if the vocabulary cannot express the text.
    pub fn encode_with_ranges(&self, text: &str, parse_special: bool) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        let bos = self.bos.filter(|_| self.add_bos);
        encoding.ids.extend(bos);
        encoding.ranges.extend(bos.map(|_| 0..0));
        self.encode_each(text, parse_special, true, &mut |id, range| {
            encoding.ids.push(id);
            encoding.ranges.push(range);
        })?;
        if bos.is_some() && encoding.ids.get(1) == bos.as_ref() {
            encoding.ids.remove(0);
            encoding.ranges.remove(0);
        }
        Ok(encoding)
    }

    /// The text of some tokens, without markers such as `<|im_end|>` and without the space that a
    /// SentencePiece-style model puts before a text. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::with_capacity(4 * ids.len());
        for &id in ids {
            if !matches!(self.kind(id), Some(TokenKind::Control | TokenKind::Unknown) | None) {
                bytes.extend(self.piece(id));
            }
        }
        let prefixed = matches!(&self.model, Model::SentencePiece(model) if model.adds_space_prefix());
        let bytes = bytes.strip_prefix(b" ").filter(|_| prefixed).unwrap_or(&bytes);
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The bytes that one token stands for; of a marker, its name; nothing for an id outside of the
    /// vocabulary.
    pub fn piece(&self, id: u32) -> Vec<u8> {
        let kind = self.kind(id);
        match &self.model {
            Model::ByteLevel(model) => match (model.text(id), kind) {
                (Some(text), Some(TokenKind::Normal | TokenKind::Unused | TokenKind::Byte)) => {
                    model.bytes(&text)
                }
                (text, _) => text.unwrap_or_default().into_bytes(),
            },
            Model::SentencePiece(model) => match (model.text(id), kind) {
                (Some(text), Some(TokenKind::Byte)) => {
                    byte(text).map_or_else(|| text.into(), |byte| vec![byte])
                }
                (Some(text), Some(TokenKind::Normal | TokenKind::Unused)) => {
                    SentencePiece::unescape(text).into_bytes()
                }
                (text, _) => text.unwrap_or_default().into(),
            },
        }
    }

    /// The number of ids.
    pub fn n_vocab(&self) -> usize {
        self.kinds.len()
    }

    /// What kind of token an id is; `None` outside of the vocabulary.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn of a chat.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Whether a model that says this token has finished.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// Whether the model wants its texts to begin with BOS.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether the file asks for EOS at the end of each text.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    fn encode_each(
        &self,
        text: &str,
        parse_special: bool,
        mut at_start: bool,
        emit: &mut impl FnMut(u32, Range<usize>),
    ) -> Result<()> {
        for fragment in self.special.partition(text, parse_special) {
            match (fragment.id, &self.model) {
                (Some(id), _) => emit(id, fragment.range),
                (None, Model::ByteLevel(model)) => model.encode(text, fragment.range, emit)?,
                (None, Model::SentencePiece(model)) => model.encode(text, fragment.range, at_start, emit)?,
            }
            at_start = fragment.id.is_some();
        }
        Ok(())
    }
}

impl Model {
    fn id(&self, text: &str) -> Option<u32> {
        match self {
            Self::ByteLevel(model) => model.id(text),
            Self::SentencePiece(model) => model.id(text),
        }
    }
}

/// The arrays of a vocabulary, of equal lengths. Empty texts have got a name.
struct Vocabulary<'a> {
    texts: Vec<std::borrow::Cow<'a, str>>,
    kinds: Vec<TokenKind>,
    scores: Vec<f32>,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let texts = metadata.strings(key).ok_or_else(|| missing(key))?;
        if texts.is_empty() || i32::try_from(texts.len()).is_err() {
            return Err(TokenizerProblem::Size { tokens: texts.len() }.into());
        }
        let same_length = |key: &'static str, entries: usize| {
            let tokens = texts.len();
            if entries == tokens { Ok(()) } else { Err(TokenizerProblem::Lengths { key, entries, tokens }) }
        };
        let key = "tokenizer.ggml.token_type";
        let kinds = match metadata.i32s(key) {
            Some(kinds) => {
                same_length(key, kinds.len())?;
                kinds.iter().map(|&kind| TokenKind::from_gguf(kind)).collect()
            }
            None => vec![TokenKind::Normal; texts.len()],
        };
        let key = "tokenizer.ggml.scores";
        let scores = match (metadata.f32s(key), metadata.i32s(key)) {
            (Some(scores), _) => scores.to_vec(),
            (None, Some(scores)) => scores.iter().map(|&score| score as f32).collect(),
            (None, None) => vec![0.0; texts.len()],
        };
        same_length(key, scores.len())?;
        let named = |(id, text): (usize, &'a String)| match text.as_str() {
            "" => format!("[EMPTY_{id}]").into(),
            text => text.into(),
        };
        Ok(Self { texts: texts.iter().enumerate().map(named).collect(), kinds, scores })
    }
}

/// The byte that a piece such as `<0x0A>` stands for.
fn byte(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

fn missing(key: &'static str) -> TokenizerProblem {
    TokenizerProblem::Missing { key }
}

#[cfg(test)]
pub(super) mod tests;
