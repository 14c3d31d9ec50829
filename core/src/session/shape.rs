//! The shape of the adapter that training starts from, against the one that was asked for.
//!
//! An adapter keeps its rank, its alpha, its modules and its layers, and settings that say otherwise would do nothing.

use std::fmt;

use crate::config::{Layers, LoraConfig, Targets};
use crate::{Error, Result};

/// The settings of an adapter's shape that somebody gave for this very run; none of them is a default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AskedShape {
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
pub(super) struct Overruled {
    pub(super) option: &'static str,
    pub(super) asked: String,
    pub(super) own: String,
}

impl AskedShape {
    /// Makes sure that the adapter that training starts from has what was asked for.
    ///
    /// # Errors
    /// [`Error::Config`] that names the first option that would do nothing.
    pub(super) fn check(&self, own: &LoraConfig, n_layer: usize) -> Result<()> {
        let asked = LoraConfig {
            rank: self.rank.unwrap_or(own.rank),
            alpha: self.alpha.unwrap_or(own.alpha),
            targets: self.targets.clone().unwrap_or(own.targets.clone()),
            layers: self.layers.clone().unwrap_or(own.layers.clone()),
            dropout: own.dropout,
        };
        match overruled(&asked, own, n_layer)?.into_iter().next() {
            None => Ok(()),
            Some(Overruled { option, asked, own }) => {
                let problem = format!(
                    "{asked} would do nothing: the adapter that training starts from has {own}, and keeps its own rank, \
                     alpha, targets and layers; leave {option} out"
                );
                Err(Error::Config { option, problem })
            }
        }
    }
}

/// Those of the settings that are neither defaults nor what the adapter has.
///
/// # Errors
/// [`Error::Config`] for layers that the model does not have.
pub(super) fn overruled_settings(
    asked: &LoraConfig,
    own: &LoraConfig,
    n_layer: usize,
) -> Result<Vec<Overruled>> {
    let default = LoraConfig::default();
    let said = LoraConfig {
        rank: if asked.rank == default.rank { own.rank } else { asked.rank },
        alpha: if asked.alpha == default.alpha { own.alpha } else { asked.alpha },
        targets: if asked.targets == default.targets { own.targets.clone() } else { asked.targets.clone() },
        layers: if asked.layers == default.layers { own.layers.clone() } else { asked.layers.clone() },
        dropout: asked.dropout,
    };
    overruled(&said, own, n_layer)
}

fn overruled(asked: &LoraConfig, own: &LoraConfig, n_layer: usize) -> Result<Vec<Overruled>> {
    let pair = |option, differs: bool, asked: &dyn fmt::Display, own: &dyn fmt::Display| {
        differs.then(|| Overruled { option, asked: asked.to_string(), own: own.to_string() })
    };
    let differs = asked.layers != own.layers && asked.layers.range(n_layer)? != own.layers.range(n_layer)?;
    let all = [
        pair("--rank", asked.rank != own.rank, &asked.rank, &own.rank),
        pair("--alpha", asked.alpha != own.alpha, &asked.alpha, &own.alpha),
        pair("--targets", asked.targets != own.targets, &asked.targets, &own.targets),
        pair("--layers", differs, &asked.layers, &own.layers),
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
        AskedShape::default().check(&own(), 6).unwrap();
        let same = AskedShape {
            rank: Some(4),
            alpha: Some(16.0),
            targets: Some(Targets::attention()),
            layers: Some(Layers::All),
        };
        same.check(&own(), 6).unwrap();
    }

    #[test]
    fn anything_else_is_refused_by_its_option() {
        let asked = AskedShape::default;
        for (other, option) in [
            (AskedShape { rank: Some(8), ..asked() }, "--rank"),
            (AskedShape { alpha: Some(8.0), ..asked() }, "--alpha"),
            (AskedShape { targets: Some(Targets::all()), ..asked() }, "--targets"),
            (AskedShape { layers: Some(Layers::Last(2)), ..asked() }, "--layers"),
        ] {
            let error = other.check(&own(), 6).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{option}: ")) && error.contains("keeps its own"), "{error}");
        }
        assert!(AskedShape { layers: Some(Layers::Last(9)), ..asked() }.check(&own(), 6).is_err());
    }

    /// A file of settings names all of them, and defaults are nobody's wish.
    #[test]
    fn settings_that_are_overruled_are_found_but_for_defaults() {
        assert_eq!(overruled_settings(&LoraConfig::default(), &own(), 6).unwrap(), []);
        let asked = LoraConfig { rank: 16, alpha: 32.0, ..own() };
        let options: Vec<_> =
            overruled_settings(&asked, &own(), 6).unwrap().into_iter().map(|other| other.option).collect();
        assert_eq!(options, ["--rank", "--alpha"]);
    }
}
