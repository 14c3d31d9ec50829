//! What the keys of an `adapter_config.json` mean for what its adapter computes, as of PEFT 0.21 (`LoraConfig` and
//! `LoraLayer` in `peft/tuners/lora`).

use serde_json::{Map, Value};

use crate::error::PeftProblem;

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
pub fn check(config: &Map<String, Value>, peft_type: &str) -> Result<(), PeftProblem> {
    if peft_type != "LORA" {
        return Err(PeftProblem::Method(peft_type.to_owned()));
    }
    if let Some((key, what)) = REFUSED.iter().find(|(key, _)| config.get(*key).is_some_and(is_set)) {
        return Err(PeftProblem::Option(key, what));
    }
    match config.get("bias") {
        None | Some(Value::Null) => {}
        Some(Value::String(bias)) if bias == "none" => {}
        Some(other) => return Err(PeftProblem::Bias(text(other))),
    }
    match config.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(start) => check_start(&text(start))?,
    }
    let is_known = |key: &str| HARMLESS.contains(&key) || REFUSED.iter().any(|(refused, _)| *refused == key);
    let unknown = config.iter().filter(|(key, value)| !is_known(key) && is_set(value));
    let unknown: Vec<_> = unknown.map(|(key, _)| key.chars().take(64).collect::<String>()).take(5).collect();
    if unknown.is_empty() { Ok(()) } else { Err(PeftProblem::UnknownOptions(unknown)) }
}

fn check_start(start: &str) -> Result<(), PeftProblem> {
    let name = start.to_lowercase();
    if STARTS_THAT_CHANGE_THE_BASE.iter().any(|kind| name.starts_with(kind)) {
        return Err(PeftProblem::ChangedBase(start.to_owned()));
    }
    if HARMLESS_STARTS.contains(&name.as_str()) {
        return Ok(());
    }
    Err(PeftProblem::UnknownStart(start.to_owned()))
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
