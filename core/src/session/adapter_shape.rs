//! The shape of the adapter that training starts from, against the one that was asked for.
//!
//! An adapter keeps its rank, its alpha, its modules and its layers, and settings that say otherwise would do nothing.

use std::fmt;

use crate::config::{Layers, LoraConfig, Targets};
use crate::error::ConfigProblem;
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
    pub(super) fn check(&self, own: &LoraConfig, n_layer: usize) -> Result<()> {
        let requested = LoraConfig {
            rank: self.rank.unwrap_or(own.rank),
            alpha: self.alpha.unwrap_or(own.alpha),
            targets: self.targets.clone().unwrap_or(own.targets.clone()),
            layers: self.layers.clone().unwrap_or(own.layers.clone()),
            dropout: own.dropout,
        };
        match overridden(&requested, own, n_layer)?.into_iter().next() {
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
    n_layer: usize,
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
    overridden(&said, own, n_layer)
}

fn overridden(requested: &LoraConfig, own: &LoraConfig, n_layer: usize) -> Result<Vec<OverriddenSetting>> {
    let pair = |option, differs: bool, requested: &dyn fmt::Display, own: &dyn fmt::Display| {
        differs.then(|| OverriddenSetting { option, requested: requested.to_string(), own: own.to_string() })
    };
    let differs =
        requested.layers != own.layers && requested.layers.range(n_layer)? != own.layers.range(n_layer)?;
    let all = [
        pair("--rank", requested.rank != own.rank, &requested.rank, &own.rank),
        pair("--alpha", requested.alpha != own.alpha, &requested.alpha, &own.alpha),
        pair("--targets", requested.targets != own.targets, &requested.targets, &own.targets),
        pair("--layers", differs, &requested.layers, &own.layers),
    ];
    Ok(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
        RequestedShape::default().check(&own(), 6).unwrap();
        let same = RequestedShape {
            rank: Some(4),
            alpha: Some(16.0),
            targets: Some(Targets::attention()),
            layers: Some(Layers::All),
        };
        same.check(&own(), 6).unwrap();
    }

    #[test]
    fn anything_else_is_refused_by_its_option() {
        let requested = RequestedShape::default;
        for (other, option) in [
            (RequestedShape { rank: Some(8), ..requested() }, "--rank"),
            (RequestedShape { alpha: Some(8.0), ..requested() }, "--alpha"),
            (RequestedShape { targets: Some(Targets::all()), ..requested() }, "--targets"),
            (RequestedShape { layers: Some(Layers::Last(2)), ..requested() }, "--layers"),
        ] {
            let error = other.check(&own(), 6).unwrap_err();
            let is_named = |named: &str| named == option;
            assert!(
                matches!(error, Error::Config { option, problem: ConfigProblem::Overridden { .. } } if is_named(option)),
                "{error}"
            );
        }
        assert!(RequestedShape { layers: Some(Layers::Last(9)), ..requested() }.check(&own(), 6).is_err());
    }

    /// A file of settings names all of them, and defaults are nobody's wish.
    #[test]
    fn settings_that_are_overridden_are_found_but_for_defaults() {
        assert_eq!(overridden_settings(&LoraConfig::default(), &own(), 6).unwrap(), []);
        let requested = LoraConfig { rank: 16, alpha: 32.0, ..own() };
        let options: Vec<_> = overridden_settings(&requested, &own(), 6)
            .unwrap()
            .into_iter()
            .map(|other| other.option)
            .collect();
        assert_eq!(options, ["--rank", "--alpha"]);
    }
}
