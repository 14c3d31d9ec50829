//! The settings that are a choice: parsed from the words that the command line and the TOML file use.

use std::{fmt, ops::Range, str::FromStr};

use nightgraft_adapter::Module;
use serde::{Deserialize, Serialize};
use strum::{EnumString, VariantNames};

use crate::error::ConfigProblem;
use crate::{Error, Result};

/// The modules of a layer that get a low-rank pair: at least one, each once, in the order of [`Module::ALL`]. Where a model has
/// several of them in one matrix, they mean that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Targets(Vec<Module>);

impl Targets {
    /// Every module.
    pub fn all() -> Self {
        Self(Module::APART.to_vec())
    }

    /// The matrices of the attention: `attn`.
    pub fn attention() -> Self {
        Self(ATTENTION.to_vec())
    }

    /// The matrices of the feed-forward network: `mlp`.
    pub fn mlp() -> Self {
        Self(MLP.to_vec())
    }

    /// These modules, in the order of a block.
    pub fn of(modules: &[Module]) -> Self {
        Self(Module::ALL.into_iter().filter(|module| modules.contains(module)).collect())
    }

    /// The modules, in the order of [`Module::ALL`].
    pub fn modules(&self) -> Vec<Module> {
        self.0.clone()
    }
}

const ATTENTION: [Module; 4] = [Module::AttnQ, Module::AttnK, Module::AttnV, Module::AttnOutput];
const MLP: [Module; 3] = [Module::FfnGate, Module::FfnUp, Module::FfnDown];

impl FromStr for Targets {
    type Err = Error;

    /// `all`, `attn`, `mlp`, a module's GGUF name, or several of these with commas between them.
    fn from_str(text: &str) -> Result<Self> {
        let mut chosen = Vec::new();
        for word in text.split(',').map(str::trim) {
            match word {
                "all" => chosen.extend(Module::APART),
                "attn" => chosen.extend(ATTENTION),
                "mlp" => chosen.extend(MLP),
                _ => chosen.push(Module::from_gguf_name(word).ok_or_else(|| unknown_target(word))?),
            }
        }
        Ok(Self(Module::ALL.into_iter().filter(|module| chosen.contains(module)).collect()))
    }
}

fn unknown_target(word: &str) -> Error {
    Error::config("--targets", ConfigProblem::UnknownModule { word: word.to_owned() })
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Module::APART {
            return f.write_str("all");
        }
        if self.0 == ATTENTION {
            return f.write_str("attn");
        }
        if self.0 == MLP {
            return f.write_str("mlp");
        }
        let names: Vec<_> = self.0.iter().map(|module| module.gguf_name()).collect();
        f.write_str(&names.join(","))
    }
}

/// The adapted layers, counted from 0 at the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Layers {
    /// `all`
    All,
    /// `last:N`: the N layers nearest the output, N ≥ 1.
    Last(usize),
    /// `a..b`: from layer a up to, not including, layer b; a < b.
    Range(Range<usize>),
}

impl Layers {
    /// The chosen layers of a model that has `n_layer` of them: never empty, within `0..n_layer`.
    ///
    /// # Errors
    /// [`Error::Config`] when the model has fewer layers than were asked for.
    pub fn range(&self, n_layer: usize) -> Result<Range<usize>> {
        let too_many = || {
            let problem = ConfigProblem::TooManyLayers { layers: self.to_string(), n_layer };
            Error::config("--layers", problem)
        };
        let range = match self {
            Self::All => 0..n_layer,
            Self::Last(n) => n_layer.checked_sub(*n).ok_or_else(too_many)?..n_layer,
            Self::Range(range) => range.clone(),
        };
        if range.is_empty() || range.end > n_layer { Err(too_many()) } else { Ok(range) }
    }
}

impl FromStr for Layers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let problem = || ConfigProblem::NotLayers { text: text.to_owned() };
        parse_layers(text.trim()).ok_or_else(|| Error::config("--layers", problem()))
    }
}

fn parse_layers(text: &str) -> Option<Layers> {
    if text == "all" {
        return Some(Layers::All);
    }
    if let Some(n) = text.strip_prefix("last:") {
        let n = n.parse().ok()?;
        return (n > 0).then_some(Layers::Last(n));
    }
    let (start, end) = text.split_once("..")?;
    let range = start.parse().ok()?..end.parse().ok()?;
    (!range.is_empty()).then_some(Layers::Range(range))
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Last(n) => write!(f, "last:{n}"),
            Self::Range(range) => write!(f, "{}..{}", range.start, range.end),
        }
    }
}

/// A number that may be left open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrWord<T>", into = "NumberOrWord<T>")]
#[serde(bound(serialize = "T: Serialize + Clone", deserialize = "T: Deserialize<'de>"))]
pub enum OrAuto<T> {
    /// `auto`: decided once it is known what there is to learn.
    #[default]
    Auto,
    /// This one.
    Given(T),
}

impl<T: Copy> OrAuto<T> {
    /// The number, if it is given.
    pub fn given(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Given(number) => Some(number),
        }
    }

    /// The number that is given, or what `other` is.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        self.given().map_or_else(|| other.into(), Self::Given)
    }
}

impl<T> From<T> for OrAuto<T> {
    fn from(number: T) -> Self {
        Self::Given(number)
    }
}

impl<T> From<Option<T>> for OrAuto<T> {
    fn from(number: Option<T>) -> Self {
        number.map_or(Self::Auto, Self::Given)
    }
}

impl<T: FromStr> FromStr for OrAuto<T> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            AUTO => Ok(Self::Auto),
            number => number.parse().map(Self::Given).map_err(|_| {
                let problem = ConfigProblem::NeitherAutoNorNumber { text: text.to_owned() };
                Error::config("--config", problem)
            }),
        }
    }
}

impl<T> From<OrAuto<T>> for NumberOrWord<T> {
    fn from(choice: OrAuto<T>) -> Self {
        match choice {
            OrAuto::Auto => Self::Word(AUTO.to_owned()),
            OrAuto::Given(number) => Self::Number(number),
        }
    }
}

impl<T> TryFrom<NumberOrWord<T>> for OrAuto<T> {
    type Error = String;

    fn try_from(value: NumberOrWord<T>) -> std::result::Result<Self, String> {
        match value {
            NumberOrWord::Number(number) => Ok(Self::Given(number)),
            NumberOrWord::Word(word) if word == AUTO => Ok(Self::Auto),
            NumberOrWord::Word(word) => Err(format!("expected \"auto\" or a number, not \"{word}\"")),
        }
    }
}

/// The word for what is decided when more is known.
const AUTO: &str = "auto";

/// How a number that may be left open stands in a file: `"auto"` or `20`.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\" or a number")]
enum NumberOrWord<N> {
    Number(N),
    Word(String),
}

/// The learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_schedule)]
pub enum Schedule {
    /// Stays at `lr`.
    Constant,
    /// Falls on a straight line to 0 at the last step.
    Linear,
    /// Falls on half a cosine wave to 0 at the last step.
    Cosine,
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// `auto`: a GPU that has shown that it computes right and faster than the processor, else the processor.
    Auto,
    /// `cpu`: the processor's cores, with the widest vector instructions it has.
    Cpu,
    /// `gpu` or `gpu:N`: the GPU with this number in the list of all, or the first that can be used.
    Gpu(Option<usize>),
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || none_of(&["auto", "cpu", "gpu", "gpu:N"], "--device", text);
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            other => {
                let number = other.strip_prefix("gpu:").ok_or_else(unknown)?;
                number.parse().map(|number| Self::Gpu(Some(number))).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

/// How matrix products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_precision)]
pub enum Precision {
    /// The fastest that this processor has and that trains as well: `mixed` where it multiplies pairs of 16-bit integers, else
    /// `f32`.
    Auto,
    /// 32-bit floating point throughout.
    F32,
    /// Products with frozen weights of 16-bit integers, forward and backward; 32-bit floating point for all else.
    Mixed,
}

/// What happens to the checkpoints that an earlier run left in the output folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_resume)]
pub enum Resume {
    /// Go on from the newest usable checkpoint; start afresh when there is none.
    Auto,
    /// Start afresh.
    Never,
}

fn unknown_schedule(word: &str) -> Error {
    none_of(Schedule::VARIANTS, "--schedule", word)
}

fn unknown_precision(word: &str) -> Error {
    none_of(Precision::VARIANTS, "--precision", word)
}

fn unknown_resume(word: &str) -> Error {
    none_of(Resume::VARIANTS, "--resume", word)
}

fn none_of(known: &'static [&'static str], option: &'static str, word: &str) -> Error {
    Error::config(option, ConfigProblem::UnknownWord { word: word.to_owned(), known })
}

/// `TryFrom<String>` and `Into<String>` by way of `FromStr` and `Display`, for serde.
macro_rules! serde_as_text {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )+};
}

serde_as_text!(Targets, Layers, Device);
