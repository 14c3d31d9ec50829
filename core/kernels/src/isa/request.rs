//! The tier that the environment asks for.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

use super::Tier;

/// The environment variable that asks for instructions.
pub const TIER_VARIABLE: &str = "NIGHTGRAFT_ISA";

/// What [`TIER_VARIABLE`] holds does not name a tier that this machine can run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierError {
    /// There is no tier of this name.
    Unknown {
        /// What the variable holds.
        name: String,
    },
    /// This machine lacks the tier's instructions.
    Unavailable {
        /// The tier that was asked for.
        tier: Tier,
    },
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available = names(&Tier::available());
        match self {
            Self::Unknown { name } => {
                let known = names(&Tier::ALL);
                write!(f, "{name:?} names no instructions: there are {known}; this machine has {available}")
            }
            Self::Unavailable { tier } => {
                write!(f, "this machine lacks the instructions {}: it has {available}", tier.name())
            }
        }
    }
}

impl std::error::Error for TierError {}

/// What the variable asks for; it is read once, so that all that is computed is computed alike.
pub(super) fn requested() -> &'static Result<Option<Tier>, TierError> {
    static REQUESTED: OnceLock<Result<Option<Tier>, TierError>> = OnceLock::new();
    REQUESTED.get_or_init(|| std::env::var_os(TIER_VARIABLE).map_or(Ok(None), |name| parse(&name)))
}

fn parse(name: &OsStr) -> Result<Option<Tier>, TierError> {
    if name.is_empty() {
        return Ok(None);
    }
    let Some(tier) = Tier::ALL.into_iter().find(|tier| name == tier.name()) else {
        return Err(TierError::Unknown { name: name.to_string_lossy().into_owned() });
    };
    if Tier::available().contains(&tier) { Ok(Some(tier)) } else { Err(TierError::Unavailable { tier }) }
}

fn names(tiers: &[Tier]) -> String {
    tiers.iter().map(|tier| tier.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tier_of_this_machine_is_taken() {
        assert_eq!(parse("".as_ref()), Ok(None));
        for tier in Tier::available() {
            assert_eq!(parse(tier.name().as_ref()), Ok(Some(tier)));
        }
        for name in ["avx-512", "AVX2", "avx2 ", " ", "sse", "scalar,avx2", "0"] {
            assert_eq!(parse(name.as_ref()), Err(TierError::Unknown { name: name.to_owned() }));
        }
        let foreign = Tier::ALL.into_iter().filter(|tier| !Tier::available().contains(tier));
        for tier in foreign {
            assert_eq!(parse(tier.name().as_ref()), Err(TierError::Unavailable { tier }));
        }
    }

    #[test]
    fn an_error_names_what_there_is() {
        let unknown = TierError::Unknown { name: "avx-512".to_owned() }.to_string();
        assert!(unknown.starts_with("\"avx-512\" "), "{unknown}");
        assert!(Tier::ALL.iter().all(|tier| unknown.contains(tier.name())), "{unknown}");
        let unavailable = TierError::Unavailable { tier: Tier::Neon }.to_string();
        assert!(unavailable.contains(" neon: it has scalar"), "{unavailable}");
    }
}
