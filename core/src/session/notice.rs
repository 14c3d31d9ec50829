//! What a person should know of a job's settings, and what does not stop it.

use std::fmt;

use super::adapter_shape::OverriddenSetting;
use crate::base::Base;
use crate::config::DataConfig;
use crate::error::OtherBase;

/// Something that is as it was asked for, or nearly, and may not be what was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Notice {
    /// Examples may be longer than any that the model was trained on.
    ContextBeyondModel { context: usize, trained: usize },
    /// The adapter that training starts from has its own shape.
    OwnShape(Vec<OverriddenSetting>),
    /// The adapter was trained on another model.
    OtherBase(OtherBase),
}

impl Notice {
    /// Whether examples may be longer than the model was made for.
    pub(super) fn of_context(config: &DataConfig, base: &Base) -> Option<Self> {
        let (context, trained) = (config.context, base.spec.n_ctx_train);
        (context > trained).then_some(Self::ContextBeyondModel { context, trained })
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
