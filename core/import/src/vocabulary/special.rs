//! Which tokens begin and end a text, pad it, and stand for what is not known; what is added to a text; and the sampling that
//! a model's maker advises.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nightgraft_gguf::{Metadata, Value};
use serde_json::{Map, Value as Json};

use super::FILE;
use super::tokenizer_json::TokenizerJson;
use crate::config::Config;
use crate::json::{Keys, MAX_CONFIG, read};
use crate::{Error, Result, TokenizerProblem};

pub(crate) const TOKENIZER: &str = "tokenizer_config.json";
pub(crate) const GENERATION: &str = "generation_config.json";
pub(crate) const NAMES: &str = "special_tokens_map.json";

/// Markers that end a turn wherever they are.
const ENDS_OF_TURN: [&str; 4] = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"];

/// The ids of a vocabulary that mean something.
#[derive(Debug, Default)]
pub(super) struct Special {
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    unknown: Option<u32>,
    padding: Option<u32>,
    mask: Option<u32>,
    add_bos: bool,
    add_eos: bool,
}

impl Special {
    /// By name from the tokenizer's files, else by number from the configurations.
    pub fn read(
        folder: &Path,
        config: &Config,
        json: &TokenizerJson,
        ids: &HashMap<&str, usize>,
    ) -> Result<Self> {
        let files = Files::read(folder)?;
        let id = |key: &str| files.token(key, ids);
        let numbers = |key: &str| {
            let of_generation = files.generation().get(key).map(numbers);
            of_generation
                .filter(|ids| !ids.is_empty())
                .or(config.keys().get(key).map(numbers))
                .unwrap_or_default()
        };
        let first = |key: &str| numbers(key).into_iter().find(|&id| (id as usize) < ids.len());
        let bos = id("bos_token")?.or_else(|| first("bos_token_id"));
        let eos = id("eos_token")?.or_else(|| first("eos_token_id"));
        let path = || folder.join(FILE);
        let eos = eos.ok_or_else(|| Error::Tokenizer { path: path(), problem: TokenizerProblem::NoEnd })?;
        let ends_turn = ENDS_OF_TURN.iter().any(|text| ids.get(text) == Some(&(eos as usize)));
        let others = numbers("eos_token_id").into_iter();
        let other = others.filter(|&id| id != eos).find(|&id| (id as usize) < ids.len());
        let template = Template::of(json.post_processor.as_ref());
        let adds = |key: &str, by_template: bool| {
            files.tokenizer().bool(key).map(|given| given.unwrap_or(by_template))
        };
        let unknown = id("unk_token")?.or_else(|| {
            json.model.unknown().and_then(|text| ids.get(text)).and_then(|&id| u32::try_from(id).ok())
        });
        Ok(Self {
            bos,
            eos: Some(eos),
            eot: if ends_turn { Some(eos) } else { other },
            unknown,
            padding: id("pad_token")?.or_else(|| first("pad_token_id")),
            mask: id("mask_token")?,
            add_bos: adds("add_bos_token", template.begins)? && bos.is_some(),
            add_eos: adds("add_eos_token", template.ends)?,
        })
    }

    /// Adds the keys.
    pub fn write(&self, put: &mut impl FnMut(&str, Value)) {
        let ids = [
            ("bos", self.bos),
            ("eos", self.eos),
            ("eot", self.eot),
            ("unknown", self.unknown),
            ("padding", self.padding),
            ("mask", self.mask),
        ];
        for (name, id) in ids {
            if let Some(id) = id {
                put(&format!("{name}_token_id"), Value::U32(id));
            }
        }
        put("add_bos_token", Value::Bool(self.add_bos));
        put("add_eos_token", Value::Bool(self.add_eos));
    }
}

/// What `generation_config.json` advises, by llama.cpp's names.
pub(crate) fn describe_sampling(folder: &Path, metadata: &mut Metadata) -> Result<()> {
    let files = Files::read(folder)?;
    let generation = files.generation();
    if let Some(top_k) = generation.count("top_k", 0, i32::MAX as u64)? {
        metadata.insert("general.sampling.top_k", Value::I32(top_k as i32));
    }
    for (from, to) in [
        ("top_p", "top_p"),
        ("min_p", "min_p"),
        ("temperature", "temp"),
        ("repetition_penalty", "penalty_repeat"),
    ] {
        if let Some(value) = generation.get(from).and_then(Json::as_f64) {
            metadata.insert(format!("general.sampling.{to}"), Value::F32(value as f32));
        }
    }
    Ok(())
}

/// The files beside `tokenizer.json`; each may be missing.
struct Files {
    tokenizer: (PathBuf, Map<String, Json>),
    generation: (PathBuf, Map<String, Json>),
    names: (PathBuf, Map<String, Json>),
}

impl Files {
    fn read(folder: &Path) -> Result<Self> {
        let file = |name: &str| {
            let path = folder.join(name);
            read(&path, MAX_CONFIG).map(|map| (path, map.unwrap_or_default()))
        };
        Ok(Self { tokenizer: file(TOKENIZER)?, generation: file(GENERATION)?, names: file(NAMES)? })
    }

    fn tokenizer(&self) -> Keys<'_> {
        Keys::new(&self.tokenizer.0, &self.tokenizer.1)
    }

    fn generation(&self) -> Keys<'_> {
        Keys::new(&self.generation.0, &self.generation.1)
    }

    /// The id of the token that a key names, as a text or as an object with one.
    fn token(&self, key: &str, ids: &HashMap<&str, usize>) -> Result<Option<u32>> {
        for (path, map) in [&self.tokenizer, &self.names] {
            let text = match map.get(key) {
                Some(Json::String(text)) => text,
                Some(Json::Object(token)) => match token.get("content").and_then(Json::as_str) {
                    Some(text) => text,
                    None => continue,
                },
                _ => continue,
            };
            let id = ids.get(text).and_then(|&id| u32::try_from(id).ok());
            // A padding token that was never trained may be missing; the ends of a text may not.
            if id.is_none() && matches!(key, "bos_token" | "eos_token") {
                let problem = TokenizerProblem::NoToken { key: key.to_owned(), text: text.to_owned() };
                return Err(Error::Tokenizer { path: path.clone(), problem });
            }
            return Ok(id);
        }
        Ok(None)
    }
}

/// One id, or a list of them.
fn numbers(value: &Json) -> Vec<u32> {
    let number = |value: &Json| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Json::Array(list) => list.iter().filter_map(number).collect(),
        one => number(one).into_iter().collect(),
    }
}

/// Whether the post-processor puts a special token before or behind a single text.
#[derive(Clone, Copy, Debug, Default)]
struct Template {
    begins: bool,
    ends: bool,
}

impl Template {
    fn of(processor: Option<&Json>) -> Self {
        let Some(processor) = processor else { return Self::default() };
        let members = processor.get("processors").and_then(Json::as_array);
        let mut members =
            members.map_or_else(|| vec![processor], |members| members.iter().collect()).into_iter();
        let single = members.find_map(|member| member.get("single")?.as_array());
        let is_special =
            |piece: Option<&Json>| piece.is_some_and(|piece| piece.get("SpecialToken").is_some());
        single.map_or_else(Self::default, |pieces| Self {
            begins: is_special(pieces.first()),
            ends: pieces.len() > 1 && is_special(pieces.last()),
        })
    }
}
