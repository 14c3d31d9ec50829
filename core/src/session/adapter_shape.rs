//! The shape of the adapter that training starts from, against the one that was asked for.
//!
//! An adapter keeps its rank, its alpha, its modules and its layers, and settings that say otherwise would do nothing.

use std::fmt;

use crate::base::Base;
use crate::config::{Layers, LoraConfig, Targets};
use crate::error::ConfigProblem;
use crate::lora::target_modules;
use crate::{Error, Result};

/// The settings of an adapter's shape that somebody gave for this very run; none of them is a default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestedShape {
    /// `--rank`
    pub rank: Option<usize>,
    /// `--alpha`
    pub alpha: Option<f32>,
    /// `--targets`
    pub targets: Option<Targets>,
    /// `--layers`
    pub layers: Option<Layers>,
}

/// A setting that an adapter has another value of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OverriddenSetting {
    pub(super) option: &'static str,
    pub(super) requested: String,
    pub(super) own: String,
}

impl RequestedShape {
    /// Makes sure that the adapter that training starts from has what was asked for.
    ///
    /// # Errors
    /// [`Error::Config`] that names the first option that would do nothing.
    pub(super) fn check(&self, own: &LoraConfig, base: &Base) -> Result<()> {
        let requested = LoraConfig {
            rank: self.rank.unwrap_or(own.rank),
            alpha: self.alpha.unwrap_or(own.alpha),
            targets: self.targets.clone().unwrap_or(own.targets.clone()),
            layers: self.layers.clone().unwrap_or(own.layers.clone()),
            dropout: own.dropout,
        };
        match overridden(&requested, own, base)?.into_iter().next() {
            None => Ok(()),
            Some(OverriddenSetting { option, requested, own }) => {
                Err(Error::config(option, ConfigProblem::Overridden { requested, own, option }))
            }
        }
    }
}

/// The requested settings that are neither defaults nor what the adapter has.
///
/// # Errors
/// [`Error::Config`] for layers that the model does not have.
pub(super) fn overridden_settings(
    requested: &LoraConfig,
    own: &LoraConfig,
    base: &Base,
) -> Result<Vec<OverriddenSetting>> {
    let default = LoraConfig::default();
    let said = LoraConfig {
        rank: if requested.rank == default.rank { own.rank } else { requested.rank },
        alpha: if requested.alpha == default.alpha { own.alpha } else { requested.alpha },
        targets: if requested.targets == default.targets {
            own.targets.clone()
        } else {
            requested.targets.clone()
        },
        layers: if requested.layers == default.layers {
            own.layers.clone()
        } else {
            requested.layers.clone()
        },
        dropout: requested.dropout,
    };
    overridden(&said, own, base)
}

fn overridden(requested: &LoraConfig, own: &LoraConfig, base: &Base) -> Result<Vec<OverriddenSetting>> {
    let pair = |option, differs: bool, requested: &dyn fmt::Display, own: &dyn fmt::Display| {
        differs.then(|| OverriddenSetting { option, requested: requested.to_string(), own: own.to_string() })
    };
    let n_layer = base.spec.n_layer();
    let other_layers =
        requested.layers != own.layers && requested.layers.range(n_layer)? != own.layers.range(n_layer)?;
    // A matrix may be named by what is fused in it: different words may mean the same.
    let meant = |targets: &Targets| target_modules(targets, base).ok();
    let other_targets = requested.targets != own.targets && meant(&requested.targets) != meant(&own.targets);
    let all = [
        pair("--rank", requested.rank != own.rank, &requested.rank, &own.rank),
        pair("--alpha", requested.alpha != own.alpha, &requested.alpha, &own.alpha),
        pair("--targets", other_targets, &requested.targets, &own.targets),
        pair("--layers", other_layers, &requested.layers, &own.layers),
    ];
    Ok(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::WeightType;
    use nightgraft_tiny_model::TinyModel;

    use super::*;
    use crate::model_file::ModelFile;

    fn base(architecture: &'static str) -> (tempfile::TempDir, Base) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel { architecture, n_layer: 6, ..TinyModel::new(WeightType::Q8_0) }.write(&path).unwrap();
        let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
        (folder, base)
    }

    fn own() -> LoraConfig {
        LoraConfig {
            rank: 4,
            layers: Layers::Range(0..6),
            targets: Targets::attention(),
            ..LoraConfig::default()
        }
    }

    #[test]
    fn what_the_adapter_has_may_be_asked_for() {
        let (_folder, base) = base("llama");
        RequestedShape::default().check(&own(), &base).unwrap();
        let same = RequestedShape {
            rank: Some(4),
            alpha: Some(16.0),
            targets: Some(Targets::attention()),
            layers: Some(Layers::All),
        };
        same.check(&own(), &base).unwrap();
    }

    /// Of a model with fused matrices `attn` and the names of what it means are the same.
    #[test]
    fn targets_are_compared_by_what_they_mean() {
        let (_folder, base) = base("phi3");
        let asked = |words: &str| {
            let targets = Some(words.parse().unwrap());
            RequestedShape { targets, ..RequestedShape::default() }.check(&own(), &base)
        };
        for same in ["attn", "attn_qkv,attn_output", "attn_output,attn_q,attn_k,attn_v"] {
            asked(same).unwrap();
        }
        for other in ["all", "attn_qkv", "attn_output", "attn_q"] {
            let error = asked(other).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Config { option: "--targets", problem: ConfigProblem::Overridden { .. } }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused_by_its_option() {
        let (_folder, base) = base("llama");
        let requested = RequestedShape::default;
        for (other, option) in [
            (RequestedShape { rank: Some(8), ..requested() }, "--rank"),
            (RequestedShape { alpha: Some(8.0), ..requested() }, "--alpha"),
            (RequestedShape { targets: Some(Targets::all()), ..requested() }, "--targets"),
            (RequestedShape { layers: Some(Layers::Last(2)), ..requested() }, "--layers"),
        ] {
            let error = other.check(&own(), &base).unwrap_err();
            let is_named = |named: &str| named == option;
            assert!(
                matches!(error, Error::Config { option, problem: ConfigProblem::Overridden { .. } } if is_named(option)),
                "{error}"
            );
        }
        assert!(
            RequestedShape { layers: Some(Layers::Last(9)), ..requested() }.check(&own(), &base).is_err()
        );
    }

    /// A file of settings names all of them, and defaults are nobody's wish.
    #[test]
    fn settings_that_are_overridden_are_found_but_for_defaults() {
        let (_folder, base) = base("llama");
        assert_eq!(overridden_settings(&LoraConfig::default(), &own(), &base).unwrap(), []);
        let requested = LoraConfig { rank: 16, alpha: 32.0, ..own() };
        let options: Vec<_> = overridden_settings(&requested, &own(), &base)
            .unwrap()
            .into_iter()
            .map(|other| other.option)
            .collect();
        assert_eq!(options, ["--rank", "--alpha"]);
    }
}
