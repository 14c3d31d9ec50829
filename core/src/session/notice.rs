//! What a person should know of a job's settings, and what does not stop it.

use std::collections::BTreeSet;
use std::fmt;

use super::adapter_shape::OverriddenSetting;
use crate::base::Base;
use crate::config::DataConfig;
use crate::error::OtherBase;
use crate::export::MergeReport;

/// Something that is as it was asked for, or nearly, and may not be what was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Notice {
    /// Examples may be longer than any that the model was trained on.
    ContextBeyondModel { context: usize, trained: usize },
    /// The model has matrices in formats that take longer.
    SlowFormats(BTreeSet<&'static str>),
    /// A merged model has weights in another format than its base: from which, to which.
    OtherFormat(BTreeSet<(&'static str, &'static str)>),
    /// The adapter that training starts from has its own shape.
    OwnShape(Vec<OverriddenSetting>),
    /// The adapter was trained on another model.
    OtherBase(OtherBase),
}

impl Notice {
    /// Whether examples may be longer than the model was made for.
    fn of_context(config: &DataConfig, base: &Base) -> Option<Self> {
        let (context, trained) = (config.context, base.spec.n_ctx_train);
        (context > trained).then_some(Self::ContextBeyondModel { context, trained })
    }

    /// Whether the model has matrices in formats that take longer.
    pub(super) fn of_formats(base: &Base) -> Option<Self> {
        let slow = base.slow_formats();
        (!slow.is_empty()).then_some(Self::SlowFormats(slow))
    }

    /// What there is to know of a model before it is worked with.
    pub(super) fn of_model(config: &DataConfig, base: &Base) -> impl Iterator<Item = Self> {
        Self::of_formats(base).into_iter().chain(Self::of_context(config, base))
    }

    /// Whether merging has changed the format of weights.
    pub(super) fn of_merge(report: &MergeReport) -> Option<Self> {
        let changed = report.tensors.iter().filter_map(|tensor| Some((tensor.base_format?, tensor.format)));
        let changed: BTreeSet<_> = changed.collect();
        (!changed.is_empty()).then_some(Self::OtherFormat(changed))
    }

    /// The words of all of them, for a report.
    pub(super) fn words<'a>(notices: impl IntoIterator<Item = &'a Self>) -> Vec<String> {
        notices.into_iter().map(Self::to_string).collect()
    }

    /// Whether settings are overridden.
    pub(super) fn of_shape(overridden: Vec<OverriddenSetting>) -> Option<Self> {
        (!overridden.is_empty()).then_some(Self::OwnShape(overridden))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContextBeyondModel { context, trained } => write!(
                f,
                "--context {context} is more than the {trained} tokens that the model was made for; what lies beyond is \
                 learned and measured badly"
            ),
            Self::SlowFormats(formats) => {
                let formats = formats.iter().copied().collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "the model has weights in {formats}, for which there are no fast kernels: training takes longer \
                     than with the same model in another format"
                )
            }
            Self::OtherFormat(changed) => {
                f.write_str("the weights that the adapter changes are stored in larger formats (")?;
                for (index, (from, to)) in changed.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{from} as {to}")?;
                }
                f.write_str("): packing them as before takes an importance matrix")
            }
            Self::OwnShape(overridden) => {
                f.write_str("the adapter that training starts from keeps its own shape: ")?;
                for (index, OverriddenSetting { option, requested, own }) in overridden.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{option} is {own}, not {requested}")?;
                }
                Ok(())
            }
            Self::OtherBase(other) => write!(f, "the adapter may do harm: {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_may_not_be_meant() {
        for (notice, words) in [
            (
                Notice::SlowFormats(BTreeSet::from(["IQ2_XS", "IQ1_S"])),
                "the model has weights in IQ1_S, IQ2_XS, for which there are no fast kernels: training takes longer than with the \
                 same model in another format",
            ),
            (
                Notice::OtherFormat(BTreeSet::from([("IQ2_XS", "Q2_K"), ("IQ3_S", "Q3_K")])),
                "the weights that the adapter changes are stored in larger formats (IQ2_XS as Q2_K, IQ3_S as Q3_K): packing them \
                 as before takes an importance matrix",
            ),
            (
                Notice::ContextBeyondModel { context: 900, trained: 512 },
                "--context 900 is more than the 512 tokens that the model was made for; what lies beyond is learned and measured \
                 badly",
            ),
        ] {
            assert_eq!(notice.to_string(), words);
        }
    }
}
