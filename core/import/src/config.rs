//! `config.json`: which architecture a folder has, and the keys that all of them share.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::Expected;
use crate::json::{Keys, MAX_CONFIG, read_needed};
use crate::{ConfigProblem, Error, Result};

pub(crate) const FILE: &str = "config.json";

/// llama.cpp aborts on more layers.
const MAX_LAYERS: u64 = 512;
/// Far above any model; keeps products of two such numbers within 64 bits.
pub(crate) const MAX_WIDTH: u64 = 1 << 24;
/// Far above any vocabulary.
const MAX_VOCABULARY: u64 = 1 << 21;
/// Positions are 32-bit signed numbers.
pub(crate) const MAX_CONTEXT: u64 = i32::MAX as u64;

/// A configuration. Models of text and images keep that of their text part in `text_config`, whose keys come first.
#[derive(Debug)]
pub(crate) struct Config {
    path: PathBuf,
    map: Map<String, Value>,
    /// As in `architectures`.
    pub architecture: String,
    /// Whether the text model is one part of several.
    pub is_part: bool,
}

impl Config {
    /// Reads it, and refuses mixtures of experts and quantized weights.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let mut map: Map<String, Value> = read_needed(folder, FILE, MAX_CONFIG)?;
        let architecture =
            Keys::new(&path, &map).texts("architectures")?.and_then(|all| all.first().copied());
        let missing = || Error::Config {
            path: path.clone(),
            problem: ConfigProblem::MissingKey { key: "architectures".to_owned() },
        };
        let architecture = architecture.ok_or_else(missing)?.to_owned();
        let text = Keys::new(&path, &map).object("text_config")?.cloned();
        let is_part = text.is_some();
        map.extend(text.into_iter().flatten().filter(|(_, value)| !value.is_null()));
        let config = Self { path, map, architecture, is_part };
        config.refuse_quantized()?;
        config.refuse_experts()?;
        Ok(config)
    }

    pub fn keys(&self) -> Keys<'_> {
        Keys::new(&self.path, &self.map)
    }

    /// The error of a model whose architecture is not known.
    pub fn unknown(&self) -> Error {
        self.keys().wrong(ConfigProblem::Architecture { name: self.architecture.clone() })
    }

    fn refuse_quantized(&self) -> Result<()> {
        let Some(quantization) = self.keys().object("quantization_config")? else { return Ok(()) };
        let method = Keys::new(&self.path, quantization).text("quant_method").ok().flatten();
        let method = method.unwrap_or("quantization_config").to_owned();
        Err(self.keys().wrong(ConfigProblem::Quantized { method }))
    }

    fn refuse_experts(&self) -> Result<()> {
        let is_set = |key: &&str| self.keys().get(key).is_some_and(|n| n.as_f64() != Some(0.0));
        let key = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"];
        let Some(key) = key.iter().find(|key| is_set(key)) else { return Ok(()) };
        let (name, key) = (self.architecture.clone(), (*key).to_owned());
        Err(self.keys().wrong(ConfigProblem::MixtureOfExperts { name, key }))
    }
}

/// What stands for keys that a configuration leaves out: `transformers` gives each architecture its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub n_head: Option<u64>,
    pub n_head_kv: Option<u64>,
    pub head_dim: Option<u64>,
    pub n_vocab: Option<u64>,
    pub n_ctx: Option<u64>,
    pub norm_eps: f64,
    pub activation: &'static str,
    pub tied: bool,
}

impl Defaults {
    /// Those of most.
    pub const USUAL: Self = Self {
        n_head: None,
        n_head_kv: None,
        head_dim: None,
        n_vocab: None,
        n_ctx: None,
        norm_eps: 1e-6,
        activation: "silu",
        tied: false,
    };
}

/// The numbers of a decoder, by GGUF's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    pub n_layer: u64,
    pub n_embd: u64,
    pub n_ff: u64,
    pub n_head: u64,
    pub n_head_kv: u64,
    pub head_dim: u64,
    pub n_vocab: u64,
    pub n_ctx: u64,
    pub norm_eps: f64,
    pub tied: bool,
}

impl Decoder {
    /// Reads them and checks that they fit each other.
    pub fn read(config: &Config, architecture: &'static str, defaults: &Defaults) -> Result<Self> {
        let keys = config.keys();
        let count = |key: &str, most: u64, default: Option<u64>| {
            keys.count(key, 1, most).and_then(|count| keys.needed(key, count.or(default)))
        };
        let n_embd = count("hidden_size", MAX_WIDTH, None)?;
        let n_head = count("num_attention_heads", n_embd, defaults.n_head)?;
        let n_head_kv = count("num_key_value_heads", n_head, Some(defaults.n_head_kv.unwrap_or(n_head)))?;
        let multiple = |key: &str, found: u64, of: &str, divisor: u64| match found.is_multiple_of(divisor) {
            true => Ok(()),
            false => Err(keys.wrong(ConfigProblem::Indivisible {
                key: key.to_owned(),
                found,
                of: of.to_owned(),
                divisor,
            })),
        };
        multiple("num_attention_heads", n_head, "num_key_value_heads", n_head_kv)?;
        let head_dim = match keys.count("head_dim", 2, MAX_WIDTH)?.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            None => {
                multiple("hidden_size", n_embd, "num_attention_heads", n_head)?;
                n_embd / n_head
            }
        };
        if !head_dim.is_multiple_of(2) {
            let (key, of) = ("head_dim".to_owned(), "the pairs that rope rotates".to_owned());
            return Err(keys.wrong(ConfigProblem::Indivisible { key, found: head_dim, of, divisor: 2 }));
        }
        let activation = keys.text("hidden_activation")?.or(keys.text("hidden_act")?);
        if let Some(found) = activation.filter(|&found| found != defaults.activation) {
            return Err(keys.unsupported("hidden_act", found, architecture, defaults.activation));
        }
        Ok(Self {
            n_layer: count("num_hidden_layers", MAX_LAYERS, None)?,
            n_embd,
            n_ff: count("intermediate_size", MAX_WIDTH, None)?,
            n_head,
            n_head_kv,
            head_dim,
            n_vocab: count("vocab_size", MAX_VOCABULARY, defaults.n_vocab)?,
            n_ctx: count("max_position_embeddings", MAX_CONTEXT, defaults.n_ctx)?,
            norm_eps: keys.positive("rms_norm_eps")?.unwrap_or(defaults.norm_eps),
            tied: keys.bool("tie_word_embeddings")?.unwrap_or(defaults.tied),
        })
    }

    /// Columns of the queries together.
    pub fn n_embd_q(&self) -> u64 {
        self.n_head * self.head_dim
    }

    /// Columns of the keys together, and of the values.
    pub fn n_embd_kv(&self) -> u64 {
        self.n_head_kv * self.head_dim
    }
}

impl Keys<'_> {
    /// The error of a property that the architecture has no place for.
    pub fn unsupported(
        &self,
        key: &str,
        found: impl ToString,
        architecture: &'static str,
        expected: impl ToString,
    ) -> Error {
        let (found, expected) = (found.to_string(), expected.to_string());
        self.wrong(ConfigProblem::Unsupported { key: self.name(key), found, architecture, expected })
    }

    /// Refuses a switch that is on.
    pub fn must_be_off(&self, key: &str, architecture: &'static str) -> Result<()> {
        match self.bool(key)? {
            Some(true) => Err(self.unsupported(key, true, architecture, false)),
            _ => Ok(()),
        }
    }

    /// A list with an entry for each of `n` things.
    pub fn length(&self, key: &str, found: usize, n: u64) -> Result<()> {
        let expected = usize::try_from(n).unwrap_or(usize::MAX);
        if found == expected {
            return Ok(());
        }
        Err(self.wrong(ConfigProblem::Length { key: self.name(key), found, expected }))
    }

    /// A list of flags, as `0` and `1` or truth values.
    pub fn flags(&self, key: &str) -> Result<Option<Vec<bool>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let flag = |value: &Value| value.as_bool().or_else(|| value.as_u64().map(|number| number != 0));
        let flags = value.as_array().and_then(|list| list.iter().map(flag).collect());
        let wrong = ConfigProblem::WrongValue { key: self.name(key), expected: Expected::TruthValues };
        flags.map(Some).ok_or_else(|| self.wrong(wrong))
    }
}
