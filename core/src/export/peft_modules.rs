//! What an `adapter_config.json` says of single modules, against those that there are tensors of. PEFT reads the tensors into
//! what the configuration makes, and passes over all others.

use std::collections::BTreeMap;

use fancy_regex::{Regex, RegexBuilder};
use nightgraft_adapter::{LoraPair, Module};
use serde_json::{Map, Value};

use super::hugging_face::module_path;
use crate::base::ModelSpec;
use crate::error::PeftProblem;

/// Regular expressions that a configuration may have; PEFT's own have names.
const MAX_EXPRESSIONS: usize = 64;
/// Steps back that an expression may take on one path.
const MAX_STEPS_BACK: usize = 10_000;

/// The word for all modules with weights but the head.
const ALL_LINEAR: &str = "all-linear";

/// The options that choose modules, or say something else of some of them.
#[derive(Debug)]
pub struct ModuleOptions {
    rank: usize,
    ranks: Vec<(Pattern, usize)>,
    alpha: f64,
    alphas: Vec<(Pattern, f64)>,
    /// The only layers; none for all.
    layers: Option<Vec<u64>>,
    /// The only modules; none for all.
    targets: Option<Vec<Pattern>>,
    /// Modules that are named by their whole path. They are adapted whatever their layer.
    named: Vec<String>,
    excluded: Vec<Pattern>,
}

/// Which modules an option speaks of.
#[derive(Debug)]
enum Pattern {
    /// Those whose path ends in these names.
    Names(String),
    Expression(Regex),
}

impl ModuleOptions {
    /// Reads the options of a configuration with this rank and alpha.
    ///
    /// # Errors
    /// The option that makes no sense.
    pub fn parse(config: &Map<String, Value>, rank: usize, alpha: f64) -> Result<Self, PeftProblem> {
        let mut expressions = 0;
        let mut of_modules = |option: &'static str| -> Result<Vec<(Pattern, &Value)>, PeftProblem> {
            let senseless = || PeftProblem::Senseless { option };
            match config.get(option) {
                None | Some(Value::Null) => Ok(Vec::new()),
                Some(Value::Object(map)) => map
                    .iter()
                    // `re.match(rf"(.*\.)?({key})$", path)` in `get_pattern_key` of `peft/utils/other.py`.
                    .map(|(key, value)| {
                        let pattern =
                            Pattern::of(key, r"(?:.*\.)?", &mut expressions).ok_or_else(senseless)?;
                        Ok((pattern, value))
                    })
                    .collect(),
                Some(_) => Err(senseless()),
            }
        };
        let ranks = of_modules("rank_pattern")?.into_iter().map(|(pattern, value)| {
            let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
            Ok((pattern, rank.ok_or(PeftProblem::Senseless { option: "rank_pattern" })?))
        });
        let ranks = ranks.collect::<Result<_, _>>()?;
        let alphas = of_modules("alpha_pattern")?.into_iter().map(|(pattern, value)| {
            Ok((pattern, value.as_f64().ok_or(PeftProblem::Senseless { option: "alpha_pattern" })?))
        });
        let alphas = alphas.collect::<Result<_, _>>()?;
        let excluded = match config.get("exclude_modules") {
            None | Some(Value::Null) => Vec::new(),
            // `re.fullmatch`, or the ends of paths, in `check_target_module_exists` of `peft/tuners/tuners_utils.py`.
            Some(Value::String(text)) if text.is_empty() => Vec::new(),
            Some(Value::String(text)) => {
                vec![
                    Pattern::expression(text, "", &mut expressions)
                        .ok_or(PeftProblem::Senseless { option: "exclude_modules" })?,
                ]
            }
            Some(list) => names(list, "exclude_modules")?.into_iter().map(Pattern::Names).collect(),
        };
        let mut named = Vec::new();
        let targets = match config.get("target_modules") {
            Some(Value::String(text)) if text != ALL_LINEAR => {
                let target = Pattern::expression(text, "", &mut expressions);
                Some(vec![target.ok_or(PeftProblem::Senseless { option: "target_modules" })?])
            }
            Some(list @ Value::Array(_)) => {
                named = names(list, "target_modules")?;
                Some(named.iter().cloned().map(Pattern::Names).collect())
            }
            _ => None,
        };
        // An expression as the target decides alone.
        let is_asked = !matches!(config.get("target_modules"), Some(Value::String(_)));
        let layers = layers(config.get("layers_to_transform"))?.filter(|_| is_asked);
        Ok(Self { rank, ranks, alpha, alphas, layers, targets, named, excluded })
    }

    /// Makes sure that PEFT would do with these tensors what is done here.
    ///
    /// # Errors
    /// The first option that says otherwise.
    pub fn check(
        &self,
        pairs: &BTreeMap<(usize, Module), LoraPair>,
        spec: &ModelSpec,
    ) -> Result<(), PeftProblem> {
        for (&(layer, module), pair) in pairs {
            let path = module_path(spec, layer, module);
            let says = first("rank_pattern", &self.ranks, &path)?.unwrap_or(self.rank);
            if says != pair.rank {
                return Err(PeftProblem::OtherRank { path, says, has: pair.rank });
            }
            let alpha = first("alpha_pattern", &self.alphas, &path)?;
            if let Some(alpha) = alpha.filter(|alpha| *alpha != self.alpha) {
                return Err(PeftProblem::OtherAlpha { path, alpha });
            }
            let is_left_out = self.layers.as_ref().is_some_and(|layers| !layers.contains(&(layer as u64)));
            if is_left_out && !self.named.contains(&path) {
                return Err(PeftProblem::LeftOut { option: "layers_to_transform", path });
            }
            if let Some(targets) = &self.targets
                && !any("target_modules", targets, &path)?
            {
                return Err(PeftProblem::LeftOut { option: "target_modules", path });
            }
            if any("exclude_modules", &self.excluded, &path)? {
                return Err(PeftProblem::LeftOut { option: "exclude_modules", path });
            }
        }
        Ok(())
    }
}

impl Pattern {
    /// The modules whose path behind `prefix` is what `text` says; none if it says nothing.
    fn of(text: &str, prefix: &str, expressions: &mut usize) -> Option<Self> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if text.chars().all(is_name) {
            return Some(Self::Names(text.to_owned()));
        }
        Self::expression(text, prefix, expressions)
    }

    fn expression(text: &str, prefix: &str, expressions: &mut usize) -> Option<Self> {
        *expressions += 1;
        let mut builder = RegexBuilder::new(&format!("^(?:{prefix}(?:{text}))$"));
        let regex = builder.backtrack_limit(MAX_STEPS_BACK).build();
        regex.ok().filter(|_| *expressions <= MAX_EXPRESSIONS).map(Self::Expression)
    }

    /// Whether a module is among those that an option speaks of.
    ///
    /// # Errors
    /// The option, if its expression takes too many steps to tell.
    fn is_of(&self, option: &'static str, path: &str) -> Result<bool, PeftProblem> {
        match self {
            Self::Names(names) => {
                let rest = path.strip_suffix(names.as_str());
                Ok(rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
            }
            Self::Expression(expression) => {
                expression.is_match(path).map_err(|_| PeftProblem::Senseless { option })
            }
        }
    }
}

/// What an option's first pattern of this module says.
fn first<T: Copy>(
    option: &'static str,
    patterns: &[(Pattern, T)],
    path: &str,
) -> Result<Option<T>, PeftProblem> {
    for (pattern, value) in patterns {
        if pattern.is_of(option, path)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// Whether one of an option's patterns is of this module.
fn any(option: &'static str, patterns: &[Pattern], path: &str) -> Result<bool, PeftProblem> {
    patterns.iter().try_fold(false, |found, pattern| Ok(found || pattern.is_of(option, path)?))
}

fn names(list: &Value, option: &'static str) -> Result<Vec<String>, PeftProblem> {
    let names =
        list.as_array().and_then(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    names.ok_or(PeftProblem::Senseless { option })
}

/// One layer, a list of some, or all.
fn layers(value: Option<&Value>) -> Result<Option<Vec<u64>>, PeftProblem> {
    let layers: Option<Vec<u64>> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.is_empty() => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(Value::as_u64).collect(),
        Some(layer) => layer.as_u64().map(|layer| vec![layer]),
    };
    layers.map(Some).ok_or(PeftProblem::Senseless { option: "layers_to_transform" })
}
