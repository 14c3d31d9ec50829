//! What the keys of an `adapter_config.json` mean for what its adapter computes, as of PEFT 0.21 (`LoraConfig` and
//! `LoraLayer` in `peft/tuners/lora`).

use std::fmt;

use serde_json::{Map, Value};

/// Why an adapter that PEFT wrote cannot be used as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum NotPlain {
    /// Another method than LoRA.
    Method(String),
    /// An option that changes what the adapter computes, and what that is in words.
    Option(&'static str, &'static str),
    /// Biases are part of it.
    Bias(String),
    /// Before the first step a part of the base went over into the adapter.
    ChangedBase(String),
    /// A start that nobody has heard of here.
    UnknownStart(String),
    /// Options that nobody has heard of here, and that say something.
    UnknownOptions(Vec<String>),
    /// An option that is not written as PEFT writes it.
    Senseless(&'static str),
    /// Tensors of another rank than the module has by the configuration.
    OtherRank { path: String, says: usize, has: usize },
    /// A module whose scale is another one.
    OtherAlpha { path: String, alpha: f64 },
    /// Tensors of a module that an option leaves out.
    LeftOut { option: &'static str, path: String },
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const MERGE: &str = "merge it into its base (PEFT's merge_and_unload) and convert that to GGUF";
        match self {
            Self::Method(method) => {
                write!(f, "peft_type is {method:?}; only plain LORA can be read: {MERGE}")
            }
            Self::Option(key, what) => write!(f, "{key} is set: {what} cannot be read; {MERGE}"),
            Self::Bias(bias) => write!(f, "bias is {bias:?}: trained biases cannot be read; {MERGE}"),
            Self::ChangedBase(start) => {
                write!(
                    f,
                    "init_lora_weights is {start:?}: it changed the base before training, so that the adapter does not \
                           fit the model as it is; "
                )?;
                match start.to_lowercase().as_str() {
                    "loftq" => f.write_str(MERGE),
                    _ => f.write_str(
                        "save it again as plain LoRA (PEFT's save_pretrained with path_initial_model_for_weight_conversion)",
                    ),
                }
            }
            Self::UnknownStart(start) => {
                write!(
                    f,
                    "init_lora_weights is {start:?}, which is not known here: it may have changed the base; {MERGE}"
                )
            }
            Self::Senseless(option) => write!(f, "{option} makes no sense"),
            Self::OtherRank { path, says, has } => {
                write!(f, "it says rank {says}, a tensor has {has} (r, rank_pattern and {path})")
            }
            Self::OtherAlpha { path, alpha } => {
                write!(
                    f,
                    "alpha_pattern is set: an alpha of its own for {path}, {alpha}, cannot be read; {MERGE}"
                )
            }
            Self::LeftOut { option, path } => {
                write!(
                    f,
                    "{option} leaves out {path}, and there are tensors of it; take out one or the other"
                )
            }
            Self::UnknownOptions(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
                write!(
                    f,
                    "not known here, and it may change what the adapter computes: {}; take it out of the file if it does not",
                    keys.join(", ")
                )
            }
        }
    }
}

/// Options that change what an adapter computes, beyond what is built here, with a word on each.
const REFUSED: &[(&str, &str)] = &[
    ("use_dora", "DoRA (weight-decomposed) adapters"),
    ("use_qalora", "QA-LoRA adapters"),
    ("use_bdlora", "block-diagonal adapters"),
    ("kasa_config", "KaSA adapters"),
    ("monteclora_config", "MonteCLoRA adapters"),
    ("velora_config", "VeLoRA adapters"),
    ("arrow_config", "routing between adapters (Arrow)"),
    ("lora_bias", "biases on the adapter"),
    ("modules_to_save", "whole modules beside the adapter"),
    ("target_parameters", "adapters on bare parameters"),
    ("trainable_token_indices", "trained token embeddings"),
    ("layer_replication", "replicated layers"),
    ("alora_invocation_tokens", "adapters that start at an invocation (aLoRA)"),
    ("megatron_config", "layers split by Megatron"),
    ("enable_lora", "adapters on parts of joined matrices"),
];

/// Options that are read elsewhere, choose what is adapted (which [`peft_modules`](super::peft_modules) compares with the
/// tensors), or matter in training alone.
const HARMLESS: &[&str] = &[
    "peft_type",
    "peft_version",
    "task_type",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "r",
    "rank_pattern",
    "lora_alpha",
    "alpha_pattern",
    // PEFT itself takes it back for linear modules, and the models that can be read have no others.
    "fan_in_fan_out",
    "use_rslora",
    "lora_dropout",
    "bias",
    "init_lora_weights",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "ensure_weight_tying",
    "merge_weights",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    // Each belongs to a way to start, which is judged itself.
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
];

/// Ways to start that leave the base as it is. `true` and `false` do so, too.
const HARMLESS_STARTS: &[&str] = &["gaussian", "orthogonal", "eva", "mica", "true", "false"];
/// Ways to start, or beginnings of their names, that move a part of the base into the adapter.
const STARTS_THAT_CHANGE_THE_BASE: &[&str] = &["pissa", "olora", "corda", "loftq", "lora_ga", "loraga"];

/// Looks for anything by which the adapter would compute something else than plain LoRA on the base as it is.
///
/// # Errors
/// The first that there is.
pub fn check(config: &Map<String, Value>, peft_type: &str) -> Result<(), NotPlain> {
    if peft_type != "LORA" {
        return Err(NotPlain::Method(peft_type.to_owned()));
    }
    if let Some((key, what)) = REFUSED.iter().find(|(key, _)| config.get(*key).is_some_and(is_set)) {
        return Err(NotPlain::Option(key, what));
    }
    match config.get("bias") {
        None | Some(Value::Null) => {}
        Some(Value::String(bias)) if bias == "none" => {}
        Some(other) => return Err(NotPlain::Bias(text(other))),
    }
    match config.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(start) => check_start(&text(start))?,
    }
    let is_known = |key: &str| HARMLESS.contains(&key) || REFUSED.iter().any(|(refused, _)| *refused == key);
    let unknown = config.iter().filter(|(key, value)| !is_known(key) && is_set(value));
    let unknown: Vec<_> = unknown.map(|(key, _)| key.chars().take(64).collect::<String>()).take(5).collect();
    if unknown.is_empty() { Ok(()) } else { Err(NotPlain::UnknownOptions(unknown)) }
}

fn check_start(start: &str) -> Result<(), NotPlain> {
    let name = start.to_lowercase();
    if STARTS_THAT_CHANGE_THE_BASE.iter().any(|kind| name.starts_with(kind)) {
        return Err(NotPlain::ChangedBase(start.to_owned()));
    }
    if HARMLESS_STARTS.contains(&name.as_str()) {
        return Ok(());
    }
    Err(NotPlain::UnknownStart(start.to_owned()))
}

/// Whether an option says anything: not null, false, or empty.
pub fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
    }
}

/// A value for a message: a text without its quotes, and never a long one.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().take(64).collect()
}
