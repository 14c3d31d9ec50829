//! The tier in use: the fastest, or the one that the environment asks for.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

use super::scalar;
use super::table::Kernels;
use super::tier::Tier;

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

impl Tier {
    /// The tier in use: the fastest available, or the one that the environment variable `NIGHTGRAFT_ISA` names
    /// (`scalar`, `avx2`, `avxvnni`, `avx512`, `avx512vnni`, `neon` or `neoni8mm`). Where it names none that this machine has,
    /// it is the fastest; [`Tier::requested`] tells.
    pub fn current() -> Tier {
        Kernels::current().tier
    }

    /// The tier that `NIGHTGRAFT_ISA` names; none where it is not set, or empty.
    ///
    /// # Errors
    /// [`TierError`] if it names none, or one that this machine cannot run. Whoever is about to compute asks first.
    pub fn requested() -> Result<Option<Tier>, TierError> {
        requested().clone()
    }
}

impl Kernels {
    /// The table in use, chosen at the first call.
    pub fn current() -> &'static Kernels {
        static CURRENT: OnceLock<&Kernels> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let asked = requested().as_ref().ok().copied().flatten();
            let tier = asked.or_else(|| Tier::available().last().copied());
            tier.and_then(Kernels::of).unwrap_or(&scalar::KERNELS)
        })
    }
}

/// What the variable asks for; it is read once, so that all that is computed is computed alike.
fn requested() -> &'static Result<Option<Tier>, TierError> {
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
