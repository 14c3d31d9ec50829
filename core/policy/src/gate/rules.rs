//! What the gate asks of a candidate.

use serde::{Deserialize, Serialize};

use crate::error::{GateLimit, InvalidRule, Result, RuleProblem};

/// The limits, with defaults from measurements (see the tests of this module's sibling `judge`).
///
/// All but the number of examples and of resamples are scale-free: shares of a loss, not nats, so that they
/// hold for models and texts with large and small losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateRules {
    /// `min_held_out`: held-out examples without which nothing is promoted, at least 2. A session that cannot have so many
    /// is not begun.
    pub min_held_out: u64,
    /// `min_gain`: the share of the base's loss on held-out examples that the candidate must save, in [0, 1).
    /// The 95 % interval of the saving must also be above zero, so that few examples need a large one.
    pub min_gain: f64,
    /// `min_gain_on_current`: the share of the loss with the adapter in use that the candidate must save.
    pub min_gain_on_current: f64,
    /// `max_forgetting`: the share of the base's loss on the retention probe by which the candidate's may be
    /// higher. Good runs measured -0.05 to 0.15 (the highest at a rate of 1e-3 over many steps); shuffled words
    /// and over-training at that rate 0.24 to 0.34.
    pub max_forgetting: f64,
    /// `max_overfit`: the share of the base's loss that the candidate may save on what it was trained on and not
    /// on held-out examples: what it learned by heart. Good runs measured 0.03 to 0.15, runs of 30 epochs on 20
    /// examples 0.38 to 0.93. The lower end of the share's 95 % interval counts: four held-out examples are too few
    /// to tell 0.15 from 0.25.
    pub max_overfit: f64,
    /// `min_word_order`: the share of the base's loss on the user's texts with their words shuffled that their
    /// order must save, in [0, 1); 0 switches this off. Measured with SmolLM2-135M-Instruct: garbage of four
    /// kinds -0.02 to 0.02 (with eight examples up to 0.04 by chance), English prose and chats 0.34 to 0.45,
    /// code 0.64, notes full of misspellings 0.12, shopping lists 0.13. What the base does not know as a
    /// language looks like garbage to it, for this English model Russian 0.10, Polish 0.05 and Finnish 0.01:
    /// for such data, switch it off or choose a base that knows the language.
    pub min_word_order: f64,
    /// `resamples`: of the bootstrap, 100 to 100 000.
    pub resamples: u32,
}

impl Default for GateRules {
    fn default() -> Self {
        Self {
            min_held_out: 4,
            min_gain: 0.01,
            min_gain_on_current: 0.002,
            max_forgetting: 0.2,
            max_overfit: 0.25,
            min_word_order: 0.07,
            resamples: 2000,
        }
    }
}

/// More brings no other interval, only waiting.
pub(super) const MAX_RESAMPLES: u32 = 100_000;

impl GateRules {
    /// Reads rules from TOML; what is not named keeps its default.
    ///
    /// # Errors
    /// [`InvalidRule`] with the line for an unknown key or a value of the wrong type, and as
    /// [`GateRules::validate`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let rules: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            let problem = RuleProblem::GateSyntax { line, message: error.message().replace('\n', " ") };
            InvalidRule { option: "--gate", problem }
        })?;
        rules.validate()?;
        Ok(rules)
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// [`InvalidRule`] naming the first that makes no sense and the values that do.
    pub fn validate(&self) -> Result<()> {
        let share = 0.0..1.0;
        let held_out = 2..=1_000_000;
        let resamples = 100..=MAX_RESAMPLES;
        let forgetting = self.max_forgetting.is_finite() && self.max_forgetting >= 0.0;
        let checks: [(&'static str, bool, GateLimit); 7] = [
            ("min_held_out", held_out.contains(&self.min_held_out), GateLimit::HeldOut),
            ("min_gain", share.contains(&self.min_gain), GateLimit::Share),
            ("min_gain_on_current", share.contains(&self.min_gain_on_current), GateLimit::Share),
            ("max_forgetting", forgetting, GateLimit::Forgetting),
            ("max_overfit", (0.0..=1.0).contains(&self.max_overfit), GateLimit::Overfit),
            ("min_word_order", share.contains(&self.min_word_order), GateLimit::Share),
            ("resamples", resamples.contains(&self.resamples), GateLimit::Resamples),
        ];
        match checks.into_iter().find(|&(_, holds, _)| !holds) {
            Some((option, _, limit)) => Err(InvalidRule { option, problem: RuleProblem::Limit(limit) }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_written_like_this() {
        GateRules::default().validate().unwrap();
        insta::assert_snapshot!(toml::to_string(&GateRules::default()).unwrap(), @r"
        min_held_out = 4
        min_gain = 0.01
        min_gain_on_current = 0.002
        max_forgetting = 0.2
        max_overfit = 0.25
        min_word_order = 0.07
        resamples = 2000
        ");
    }

    #[test]
    fn what_is_not_named_keeps_its_default() {
        let rules = GateRules::from_toml("max_forgetting = 0.5\n").unwrap();
        assert_eq!(rules, GateRules { max_forgetting: 0.5, ..GateRules::default() });
        assert_eq!(GateRules::from_toml("").unwrap(), GateRules::default());
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (text, expected) in [
            ("min_gains = 1", "line 1: unknown field `min_gains`"),
            ("\nmin_gain = \"much\"", "line 2: invalid type"),
            ("min_held_out = 1", "min_held_out: must be 2 to"),
            ("min_gain = 1.0", "min_gain: must be 0 to below 1"),
            ("min_gain = nan", "min_gain: must be 0 to below 1"),
            ("min_gain_on_current = -0.1", "min_gain_on_current: must be 0 to below 1"),
            ("max_forgetting = inf", "max_forgetting: must be 0 or more"),
            ("max_overfit = 1.5", "max_overfit: must be 0 to 1"),
            ("min_word_order = 2.0", "min_word_order: must be 0 to below 1"),
            ("resamples = 5", "resamples: must be 100 to 100000"),
        ] {
            let problem = GateRules::from_toml(text).unwrap_err().to_string();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
