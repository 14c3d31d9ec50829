//! What is wrong with rules that somebody wrote.

use std::fmt;

use super::Thermal;

/// A rule that makes no sense, alone or with the others, or a text that holds no rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct InvalidRule {
    /// Which rule it is, or the option that gave the text.
    pub option: &'static str,
    /// What is wrong and which values are allowed.
    pub problem: RuleProblem,
}

/// Why a rule makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleProblem {
    /// A text that holds no rules of the policy.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser of TOML says.
        message: String,
    },
    /// A text that holds no rules of the gate.
    #[error("gate rules, line {line}: {message}")]
    GateSyntax {
        /// The line, from 1.
        line: usize,
        /// What the parser of TOML says.
        message: String,
    },
    /// Rules that TOML cannot hold.
    #[error("{0}")]
    Unwritable(String),
    /// A value that is not allowed.
    #[error("{value} is not allowed; it must be {allowed}")]
    NotAllowed {
        /// The value.
        value: RuleValue,
        /// What is allowed.
        allowed: Allowed,
    },
    /// A limit of the gate that is not allowed.
    #[error("must be {0}")]
    Limit(GateLimit),
}

/// What a rule is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RuleValue {
    /// A number.
    Number(f64),
    /// A whole number.
    Integer(u64),
    /// What the system says of the device's heat.
    Thermal(Thermal),
}

/// Which values a rule of the policy may have.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Allowed {
    /// From the first to the second.
    Between(f64, f64),
    /// From the lowest charge to go on at, up to 1.
    FromBatteryFloor,
    /// From 0 to the temperature at which it pauses.
    UpToPause,
    /// From 0 to below the temperature at which it pauses.
    BelowPause,
    /// A level at which a device is warm.
    WarmLevel,
    /// A level below the one at which it pauses.
    LevelBelowPause,
    /// Up to a day.
    Seconds,
    /// From one to all of a day.
    Minutes,
    /// At least so many.
    Bytes {
        /// The least.
        least: u64,
    },
}

/// Which values a limit of the gate may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateLimit {
    /// A number of examples.
    HeldOut,
    /// A share that is less than all.
    Share,
    /// A share that may be more than all.
    Forgetting,
    /// A share.
    Overfit,
    /// Draws of the bootstrap.
    Resamples,
}

/// What reads and checks rules returns.
pub(crate) type Result<T, E = InvalidRule> = std::result::Result<T, E>;

impl From<f64> for RuleValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for RuleValue {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<Thermal> for RuleValue {
    fn from(level: Thermal) -> Self {
        Self::Thermal(level)
    }
}

impl fmt::Display for RuleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Thermal(Thermal::Nominal) => f.write_str("nominal"),
            Self::Thermal(Thermal::Fair) => f.write_str("fair"),
            Self::Thermal(Thermal::Serious) => f.write_str("serious"),
            Self::Thermal(Thermal::Critical) => f.write_str("critical"),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(least, most) => write!(f, "{least} to {most}"),
            Self::FromBatteryFloor => f.write_str("battery_floor to 1"),
            Self::UpToPause => f.write_str("0 to pause_at_celsius"),
            Self::BelowPause => f.write_str("0 to below pause_at_celsius"),
            Self::WarmLevel => f.write_str("fair, serious or critical"),
            Self::LevelBelowPause => f.write_str("a level below pause_at_thermal"),
            Self::Seconds => f.write_str("0 to 86400 seconds, a day"),
            Self::Minutes => f.write_str("1 to 1440, which is no limit"),
            Self::Bytes { least } => write!(f, "at least {least} bytes, below 2^63"),
        }
    }
}

impl fmt::Display for GateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeldOut => "2 to 1000000",
            Self::Share => "0 to below 1",
            Self::Forgetting => "0 or more, such as 0.2",
            Self::Overfit => "0 to 1, such as 0.25",
            Self::Resamples => "100 to 100000",
        })
    }
}
