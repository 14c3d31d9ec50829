//! PEFT's `adapter_config.json`.

use std::collections::{BTreeMap, BTreeSet};

use nightgraft_adapter::{AdapterTensors, Module};
use nightgraft_gguf::Metadata;
use serde_json::{Map, Value, json};

use super::hugging_face::{module_name, module_path};
use super::peft_modules::ModuleOptions;
use super::peft_options::{self, is_set};
use crate::base::Base;
use crate::error::{ForeignAdapter, PeftProblem};

/// What the scale of an adapter from elsewhere depends on.
#[derive(Debug)]
pub struct PeftConfig {
    /// What it says of single modules.
    pub modules: ModuleOptions,
    pub alpha: f64,
    /// The scale is `alpha / √rank` instead of `alpha / rank`.
    pub rank_stabilized: bool,
    pub dropout: f32,
    /// Where the base was found: a repository's name, or a path on somebody's disk.
    pub base: Option<String>,
}

impl PeftConfig {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is missing, wrong or not supported.
    pub fn parse(text: &[u8]) -> Result<Self, PeftProblem> {
        let value: Value =
            serde_json::from_slice(text).map_err(|error| PeftProblem::Json(error.to_string()))?;
        let config = value.as_object().ok_or(PeftProblem::NotAnObject)?;
        let Some(peft_type) = config.get("peft_type").and_then(Value::as_str) else {
            let trainer = ForeignAdapter::of_config(config);
            return Err(trainer.map_or(PeftProblem::NoMethod, PeftProblem::Foreign));
        };
        peft_options::check(config, peft_type)?;
        let (rank, alpha) = (rank(config)?, alpha(config)?);
        let modules = ModuleOptions::parse(config, rank, alpha)?;
        Ok(Self {
            modules,
            alpha,
            rank_stabilized: config.get("use_rslora").is_some_and(is_set),
            dropout: dropout(config),
            base: config.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// The alpha of an adapter that is scaled by `alpha / rank`, as ours are.
    ///
    /// # Errors
    /// If ranks are mixed and rank-stabilized: no single alpha has that effect.
    pub fn plain_alpha(&self, ranks: &BTreeSet<usize>) -> Result<f32, PeftProblem> {
        let alpha = match (self.rank_stabilized, ranks.iter().next()) {
            (true, Some(&rank)) if ranks.len() == 1 => self.alpha * (rank as f64).sqrt(),
            (true, _) => return Err(PeftProblem::MixedRanks),
            (false, _) => self.alpha,
        };
        Some(alpha as f32)
            .filter(|alpha| alpha.is_finite() && *alpha != 0.0)
            .ok_or(PeftProblem::AlphaOutOfRange)
    }
}

fn rank(config: &Map<String, Value>) -> Result<usize, PeftProblem> {
    let rank = config.get("r").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
    rank.filter(|&rank| rank > 0).ok_or(PeftProblem::Rank)
}

fn alpha(config: &Map<String, Value>) -> Result<f64, PeftProblem> {
    let alpha = config.get("lora_alpha").and_then(Value::as_f64);
    alpha.filter(|alpha| alpha.is_finite() && *alpha != 0.0).ok_or(PeftProblem::Alpha)
}

fn dropout(config: &Map<String, Value>) -> f32 {
    let dropout = config.get("lora_dropout").and_then(Value::as_f64).unwrap_or(0.0);
    if (0.0..1.0).contains(&dropout) { dropout as f32 } else { 0.0 }
}

/// The configuration that makes PEFT put the adapter where it belongs.
pub fn describe(tensors: &AdapterTensors, base: &Base) -> Value {
    let layers: BTreeSet<usize> = tensors.pairs.keys().map(|&(layer, _)| layer).collect();
    let modules: BTreeSet<Module> = tensors.pairs.keys().map(|&(_, module)| module).collect();
    let is_grid = layers.len() * modules.len() == tensors.pairs.len();
    let all_layers = layers.len() == base.spec.n_layer();
    let first = layers.first().copied().unwrap_or(0);
    // A module's last name picks it in all the layers listed; an irregular choice needs every path.
    let targets: Vec<String> = if is_grid {
        modules.iter().map(|&module| last_name(module_name(&base.spec, first, module)).to_owned()).collect()
    } else {
        tensors.pairs.keys().map(|&(layer, module)| module_path(&base.spec, layer, module)).collect()
    };
    let ranks: BTreeMap<String, usize> = tensors
        .pairs
        .iter()
        .filter(|(_, pair)| pair.rank != tensors.spec.rank)
        .map(|(&(layer, module), pair)| (module_path(&base.spec, layer, module), pair.rank))
        .collect();
    json!({
        "alpha_pattern": {},
        "base_model_name_or_path": repository(base.file().metadata()),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_pattern": null,
        "layers_to_transform": (is_grid && !all_layers).then(|| layers.iter().collect::<Vec<_>>()),
        "lora_alpha": number(tensors.spec.alpha),
        "lora_dropout": number(tensors.spec.dropout),
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": tensors.spec.rank,
        "rank_pattern": ranks,
        "revision": null,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    })
}

/// The last part of a path: `q_proj`.
fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// The keys of [`describe`].
const OWN_KEYS: [&str; 19] = [
    "alpha_pattern",
    "base_model_name_or_path",
    "bias",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
];

/// Whether a configuration is one of [`describe`]: PEFT's own have more keys.
pub fn is_own_config(text: &[u8]) -> bool {
    let config: Option<Map<String, Value>> = serde_json::from_slice(text).ok();
    config.is_some_and(|config| {
        config.contains_key("peft_type") && config.keys().all(|key| OWN_KEYS.contains(&key.as_str()))
    })
}

/// `OWNER/NAME` of the original model, where the file says it.
fn repository(metadata: &Metadata) -> Option<String> {
    let direct = metadata.string("general.source.huggingface.repository").map(str::to_owned);
    direct.or_else(|| {
        let url = metadata
            .string("general.source.repo_url")
            .or_else(|| metadata.string("general.base_model.0.repo_url"))?;
        url.strip_prefix("https://huggingface.co/").map(|name| name.trim_end_matches('/').to_owned())
    })
}

/// A whole number without a point, as PEFT writes its own; otherwise the shortest decimal form.
fn number(value: f32) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return json!(value as i64);
    }
    value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))
}
