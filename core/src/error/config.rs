//! What can be wrong with a setting.

use std::fmt;
use std::path::PathBuf;

use nightgraft_adapter::Module;
use nightgraft_ggml::TierError;
use nightgraft_policy::RuleProblem;
use nightgraft_text::SettingProblem;

/// Why a setting makes no sense, alone or with the others, and which values are allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// A whole number that is too small or too large.
    #[error("{value} is not {least} to {most}")]
    NotWithin {
        /// What it is set to.
        value: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// A number that is not allowed.
    #[error("{value} is not {allowed}")]
    NotAllowed {
        /// What it is set to.
        value: f64,
        /// What is allowed.
        allowed: Allowed,
    },
    /// A word that stands for nothing.
    #[error("'{word}' is none of {}", known.join(", "))]
    UnknownWord {
        /// The word.
        word: String,
        /// Those that there are.
        known: &'static [&'static str],
    },
    /// A GPU is asked for, and none can be used.
    #[error(
        "no GPU can be used: {}; --device auto takes the processor where there is none",
        if found.is_empty() { "there is no driver of Vulkan or Metal" } else { found.as_str() }
    )]
    NoGpu {
        /// Those that there are, each with why not.
        found: String,
    },
    /// The list of GPUs has no such number.
    #[error("there is no GPU {number}; `nightgraft devices` lists {n}")]
    NoSuchGpu {
        /// The number that was asked for.
        number: usize,
        /// How many there are.
        n: usize,
    },
    /// This build computes on the processor alone.
    #[error("this build has no GPUs; build it with the feature gpu, or take --device cpu")]
    BuiltWithoutGpu,
    /// Limits of GPUs that there are not.
    #[error("'{text}' is not known; it may be least")]
    UnknownLimits {
        /// What was asked for.
        text: String,
    },
    /// A simulated fault that there is not.
    #[error("'{text}' is none of lost:N, memory:N, skip:N, abort:N, wrong, abort")]
    UnknownFault {
        /// What was asked for.
        text: String,
    },
    /// A module that there is not.
    #[error("unknown module '{word}'; use all, attn, mlp, or any of {}", Module::ALL.map(Module::gguf_name).join(","))]
    UnknownModule {
        /// What it was called.
        word: String,
    },
    /// A module that the model does not have by itself.
    #[error(
        "this model has no matrix {module} by itself; it has {}",
        available.iter().map(|module| module.gguf_name()).collect::<Vec<_>>().join(", ")
    )]
    NotOfModel {
        /// The module.
        module: Module,
        /// Those that the model has.
        available: Vec<Module>,
    },
    /// A text where a number is expected, or `auto`.
    #[error("'{text}' is neither auto nor a number that fits")]
    NeitherAutoNorNumber {
        /// The text.
        text: String,
    },
    /// A text that says no layers.
    #[error("'{text}' is not all, last:N (N of at least 1) or a..b (a below b, b not included)")]
    NotLayers {
        /// The text.
        text: String,
    },
    /// Layers that the model does not have.
    #[error("'{layers}' does not fit: the model has {n_layer} layers, 0..{n_layer}")]
    TooManyLayers {
        /// The layers, as they are written.
        layers: String,
        /// How many layers there are.
        n_layer: usize,
    },
    /// A micro-batch that is smaller than an example.
    #[error("{batch_tokens} is not {context} or more: an example of --context must fit")]
    BatchBelowContext {
        /// Tokens of a micro-batch.
        batch_tokens: usize,
        /// Tokens of the longest example.
        context: usize,
    },
    /// A session without examples to judge by.
    #[error("a session needs held-out examples, on which the result is judged; give 0.1, say")]
    NoHeldOut,
    /// A run without examples.
    #[error("no example is left to train on")]
    NoExamples,
    /// A learning rate that is still open where it is needed.
    #[error("it is not decided yet")]
    Undecided,
    /// A shape that the adapter does not have that training starts from.
    #[error(
        "{requested} would do nothing: the adapter that training starts from has {own}, and keeps its own rank, alpha, \
         targets and layers; leave {option} out"
    )]
    Overridden {
        /// What was asked for.
        requested: String,
        /// What the adapter has.
        own: String,
        /// The option.
        option: &'static str,
    },
    /// An export that does not know its model.
    #[error(
        "needed: the model that the adapter was trained on decides the order of its rows, and the adapter is not in the \
         folder of a run that tells which it was"
    )]
    ModelNeeded,
    /// More logits than a file may hold.
    #[error(
        "{n_supervised} supervised tokens times a vocabulary of {n_vocab} would make a file of {} MiB, above the limit of \
         {}; give a shorter --data",
        bytes >> 20,
        limit >> 20
    )]
    LogitsTooLarge {
        /// Tokens with a target.
        n_supervised: usize,
        /// Logits of each.
        n_vocab: usize,
        /// Bytes of the file.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// An output that is one of the inputs.
    #[error("{} would replace {}, which is the {input_option}; choose another place", path.display(), input.display())]
    WouldReplace {
        /// The output.
        path: PathBuf,
        /// The input.
        input: PathBuf,
        /// The option that gives the input.
        input_option: &'static str,
    },
    /// An output where something else is.
    #[error("{} is there already, and no earlier run wrote it; choose another place, or move it away", path.display())]
    Occupied {
        /// The output.
        path: PathBuf,
    },
    /// A folder for a run in which there is something else.
    #[error(
        "{} would lose {}, which no earlier run wrote; choose another folder, or move {} away",
        folder.display(),
        names.join(", "),
        if names.len() == 1 { "it" } else { "them" }
    )]
    WouldLose {
        /// The folder.
        folder: PathBuf,
        /// What would be lost in it.
        names: Vec<&'static str>,
    },
    /// A folder that another process runs in.
    #[error("{} is in use by another run", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that is larger than any configuration.
    #[error("{} is too large to be a configuration", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A text that is no configuration.
    #[error("{}{line}: {message}", path.as_ref().map_or("line ".to_owned(), |path| format!("{}:", path.display())))]
    Syntax {
        /// The file, if it came from one.
        path: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
        /// What the parser of TOML says.
        message: String,
    },
    /// A file that holds no rules for nights.
    #[error("{}: {message}", path.display())]
    RulesSyntax {
        /// The file.
        path: PathBuf,
        /// What the parser of TOML says, with the place.
        message: String,
    },
    /// A configuration that TOML cannot hold.
    #[error("{0}")]
    Unwritable(String),
    /// Instructions that this machine lacks.
    #[error(transparent)]
    Instructions(#[from] TierError),
    /// A setting of the texts.
    #[error(transparent)]
    Text(#[from] SettingProblem),
    /// A rule of the policy or of the gate.
    #[error(transparent)]
    Rule(#[from] RuleProblem),
}

/// The numbers that a setting may have; `Display` says them with what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allowed {
    /// Above 0.
    Positive,
    /// From 0 on.
    NotNegative,
    /// From 0 to below 1.
    BelowOne,
    /// A learning rate.
    Rate,
    /// A small number that is added to a divisor.
    Epsilon,
    /// A part of the steps of a run.
    FractionOfSteps,
    /// A norm of gradients.
    Norm,
    /// A part of the examples.
    FractionOfExamples,
    /// Examples for each new one.
    Replay,
    /// What answers are drawn with.
    Temperature,
}

impl Allowed {
    pub(crate) fn contains(self, value: f64) -> bool {
        match self {
            Self::Positive => value.is_finite() && value > 0.0,
            Self::NotNegative | Self::Norm | Self::Temperature => value.is_finite() && value >= 0.0,
            Self::BelowOne => (0.0..1.0).contains(&value),
            Self::Rate | Self::Epsilon => value > 0.0 && value <= 1.0,
            Self::FractionOfSteps => (0.0..=1.0).contains(&value),
            Self::FractionOfExamples => (0.0..=0.9).contains(&value),
            Self::Replay => (0.0..=100.0).contains(&value),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Positive => "a number above 0",
            Self::NotNegative => "0 or more",
            Self::BelowOne => "0 to below 1",
            Self::Rate => "above 0 and at most 1, such as 1e-3, or auto",
            Self::Epsilon => "above 0 and at most 1, such as 1e-8",
            Self::FractionOfSteps => "a fraction of the steps, 0 to 1",
            Self::Norm => "a norm above 0, or 0 for no clipping",
            Self::FractionOfExamples => "0 to 0.9 of the examples",
            Self::Replay => "0 to 100 old examples for each new one",
            Self::Temperature => "a temperature: give 0 or more",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let path = || PathBuf::from("a/b");
        let text = || "odd".to_owned();
        for (problem, words) in [
            (ConfigProblem::NotWithin { value: 0, least: 1, most: 256 }, "0 is not 1 to 256"),
            (
                ConfigProblem::UnknownWord { word: text(), known: &["constant", "linear"] },
                "'odd' is none of constant, linear",
            ),
            (
                ConfigProblem::UnknownModule { word: text() },
                "unknown module 'odd'; use all, attn, mlp, or any of \
                 attn_q,attn_k,attn_v,attn_output,ffn_gate,ffn_up,ffn_down,attn_qkv",
            ),
            (
                ConfigProblem::NotOfModel {
                    module: Module::AttnQ,
                    available: vec![Module::AttnOutput, Module::AttnQkv],
                },
                "this model has no matrix attn_q by itself; it has attn_output, attn_qkv",
            ),
            (
                ConfigProblem::NeitherAutoNorNumber { text: text() },
                "'odd' is neither auto nor a number that fits",
            ),
            (
                ConfigProblem::NotLayers { text: text() },
                "'odd' is not all, last:N (N of at least 1) or a..b (a below b, b not included)",
            ),
            (
                ConfigProblem::TooManyLayers { layers: "last:31".into(), n_layer: 30 },
                "'last:31' does not fit: the model has 30 layers, 0..30",
            ),
            (
                ConfigProblem::BatchBelowContext { batch_tokens: 9, context: 10 },
                "9 is not 10 or more: an example of --context must fit",
            ),
            (
                ConfigProblem::NoHeldOut,
                "a session needs held-out examples, on which the result is judged; give 0.1, say",
            ),
            (ConfigProblem::NoExamples, "no example is left to train on"),
            (ConfigProblem::Undecided, "it is not decided yet"),
            (
                ConfigProblem::Overridden { requested: "8".into(), own: "4".into(), option: "--rank" },
                "8 would do nothing: the adapter that training starts from has 4, and keeps its own rank, alpha, targets and \
                 layers; leave --rank out",
            ),
            (
                ConfigProblem::ModelNeeded,
                "needed: the model that the adapter was trained on decides the order of its rows, and the adapter is not in \
                 the folder of a run that tells which it was",
            ),
            (
                ConfigProblem::LogitsTooLarge { n_supervised: 3, n_vocab: 4, bytes: 5 << 20, limit: 2 << 30 },
                "3 supervised tokens times a vocabulary of 4 would make a file of 5 MiB, above the limit of 2048; give a \
                 shorter --data",
            ),
            (
                ConfigProblem::WouldReplace { path: path(), input: "c".into(), input_option: "--model" },
                "a/b would replace c, which is the --model; choose another place",
            ),
            (
                ConfigProblem::Occupied { path: path() },
                "a/b is there already, and no earlier run wrote it; choose another place, or move it away",
            ),
            (
                ConfigProblem::WouldLose { folder: path(), names: vec!["adapter"] },
                "a/b would lose adapter, which no earlier run wrote; choose another folder, or move it away",
            ),
            (
                ConfigProblem::WouldLose { folder: path(), names: vec!["adapter", "loss.svg"] },
                "a/b would lose adapter, loss.svg, which no earlier run wrote; choose another folder, or move them away",
            ),
            (ConfigProblem::FolderInUse { folder: path() }, "a/b is in use by another run"),
            (ConfigProblem::TooLarge { path: path() }, "a/b is too large to be a configuration"),
            (ConfigProblem::Syntax { path: Some(path()), line: 3, message: text() }, "a/b:3: odd"),
            (ConfigProblem::Syntax { path: None, line: 3, message: text() }, "line 3: odd"),
            (ConfigProblem::RulesSyntax { path: path(), message: text() }, "a/b: odd"),
            (ConfigProblem::Unwritable(text()), "odd"),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }

    #[test]
    fn numbers_are_said_with_what_they_mean() {
        for (allowed, value, words) in [
            (Allowed::Positive, 0.0, "0 is not a number above 0"),
            (Allowed::NotNegative, -0.5, "-0.5 is not 0 or more"),
            (Allowed::BelowOne, 1.0, "1 is not 0 to below 1"),
            (Allowed::Rate, f64::INFINITY, "inf is not above 0 and at most 1, such as 1e-3, or auto"),
            (Allowed::Epsilon, 0.0, "0 is not above 0 and at most 1, such as 1e-8"),
            (Allowed::FractionOfSteps, f64::NAN, "NaN is not a fraction of the steps, 0 to 1"),
            (Allowed::Norm, -1.0, "-1 is not a norm above 0, or 0 for no clipping"),
            (Allowed::FractionOfExamples, 0.95, "0.95 is not 0 to 0.9 of the examples"),
            (Allowed::Replay, 101.0, "101 is not 0 to 100 old examples for each new one"),
            (Allowed::Temperature, -1.0, "-1 is not a temperature: give 0 or more"),
        ] {
            assert!(!allowed.contains(value) && allowed.contains(0.5), "{allowed}");
            assert_eq!(ConfigProblem::NotAllowed { value, allowed }.to_string(), words);
        }
    }
}
