//! What can be wrong with PEFT's `adapter_config.json`.

use std::fmt;

use super::ForeignAdapter;

/// Why an adapter cannot be used as its configuration describes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PeftProblem {
    /// The file is not JSON; the words are its parser's.
    Json(String),
    /// The file is JSON, and no object.
    NotAnObject,
    /// The configuration does not say its method.
    NoMethod,
    /// The configuration is another trainer's.
    Foreign(ForeignAdapter),
    /// The rank is none that can be.
    Rank,
    /// Alpha is none that can be.
    Alpha,
    /// Alpha is beyond what a float can say.
    AlphaOutOfRange,
    /// Ranks are mixed and the scale is by their roots: no single alpha has that effect.
    MixedRanks,
    /// The method is not LoRA.
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
    Senseless {
        /// The option.
        option: &'static str,
    },
    /// Tensors of another rank than the module has by the configuration.
    OtherRank {
        /// The module.
        path: String,
        /// Its rank by the configuration.
        says: usize,
        /// The rank of its tensors.
        has: usize,
    },
    /// A module whose scale is another one.
    OtherAlpha {
        /// The module.
        path: String,
        /// Its alpha.
        alpha: f64,
    },
    /// Tensors of a module that an option leaves out.
    LeftOut {
        /// The option.
        option: &'static str,
        /// The module.
        path: String,
    },
}

impl std::error::Error for PeftProblem {}

impl fmt::Display for PeftProblem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const MERGE: &str = "merge it into its base (PEFT's merge_and_unload) and convert that to GGUF";
        match self {
            Self::Json(message) => f.write_str(message),
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::NoMethod => f.write_str("peft_type is missing"),
            Self::Foreign(trainer) => write!(f, "{trainer}"),
            Self::Rank => f.write_str("r must be a positive integer"),
            Self::Alpha => f.write_str("lora_alpha must be a number other than 0"),
            Self::AlphaOutOfRange => f.write_str("lora_alpha is out of range"),
            Self::MixedRanks => f.write_str("use_rslora together with different ranks cannot be read"),
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
            Self::Senseless { option } => write!(f, "{option} makes no sense"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let path = || "model.layers.0.self_attn.v_proj".to_owned();
        for (problem, words) in [
            (PeftProblem::Json("odd".into()), "odd"),
            (PeftProblem::NotAnObject, "it is not a JSON object"),
            (PeftProblem::NoMethod, "peft_type is missing"),
            (PeftProblem::Rank, "r must be a positive integer"),
            (PeftProblem::Alpha, "lora_alpha must be a number other than 0"),
            (PeftProblem::AlphaOutOfRange, "lora_alpha is out of range"),
            (PeftProblem::MixedRanks, "use_rslora together with different ranks cannot be read"),
            (
                PeftProblem::Method("IA3".into()),
                "peft_type is \"IA3\"; only plain LORA can be read: merge it into its base (PEFT's merge_and_unload) and \
                 convert that to GGUF",
            ),
            (
                PeftProblem::Option("use_dora", "DoRA (weight-decomposed) adapters"),
                "use_dora is set: DoRA (weight-decomposed) adapters cannot be read; merge it into its base (PEFT's \
                 merge_and_unload) and convert that to GGUF",
            ),
            (
                PeftProblem::Bias("all".into()),
                "bias is \"all\": trained biases cannot be read; merge it into its base (PEFT's merge_and_unload) and convert \
                 that to GGUF",
            ),
            (
                PeftProblem::ChangedBase("LoftQ".into()),
                "init_lora_weights is \"LoftQ\": it changed the base before training, so that the adapter does not fit the \
                 model as it is; merge it into its base (PEFT's merge_and_unload) and convert that to GGUF",
            ),
            (
                PeftProblem::ChangedBase("pissa".into()),
                "init_lora_weights is \"pissa\": it changed the base before training, so that the adapter does not fit the \
                 model as it is; save it again as plain LoRA (PEFT's save_pretrained with \
                 path_initial_model_for_weight_conversion)",
            ),
            (
                PeftProblem::UnknownStart("odd".into()),
                "init_lora_weights is \"odd\", which is not known here: it may have changed the base; merge it into its base \
                 (PEFT's merge_and_unload) and convert that to GGUF",
            ),
            (
                PeftProblem::UnknownOptions(vec!["odd".into(), "new".into()]),
                "not known here, and it may change what the adapter computes: \"odd\", \"new\"; take it out of the file if it \
                 does not",
            ),
            (PeftProblem::Senseless { option: "rank_pattern" }, "rank_pattern makes no sense"),
            (
                PeftProblem::OtherRank { path: path(), says: 4, has: 2 },
                "it says rank 4, a tensor has 2 (r, rank_pattern and model.layers.0.self_attn.v_proj)",
            ),
            (
                PeftProblem::OtherAlpha { path: path(), alpha: 3.0 },
                "alpha_pattern is set: an alpha of its own for model.layers.0.self_attn.v_proj, 3, cannot be read; merge it \
                 into its base (PEFT's merge_and_unload) and convert that to GGUF",
            ),
            (
                PeftProblem::LeftOut { option: "target_modules", path: path() },
                "target_modules leaves out model.layers.0.self_attn.v_proj, and there are tensors of it; take out one or the \
                 other",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
