//! What a session is to do.

use std::path::{Path, PathBuf};

use nightgraft_policy::Rules;
use nightgraft_policy::gate::GateRules;
use serde::{Deserialize, Serialize};

use crate::config::{self, TrainConfig};
use crate::device::DeviceOptions;
use crate::error::{Allowed, ConfigProblem};
use crate::{Error, Result};

/// The retention probe that comes with the engine: general texts and chats.
pub(super) const PROBE: &str = include_str!("../probe.jsonl");

/// One old example for each new one.
const DEFAULT_REPLAY: f64 = 1.0;

/// A session's model and settings; its examples are the store's.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// How to train. The output folder's settings (`resume`, `keep_checkpoints` aside) play no part.
    pub training: TrainConfig,
    /// When the result may be used.
    pub gate: GateRules,
    /// Old examples trained on again for each new one.
    pub replay: f64,
    /// A `.jsonl` file instead of the built-in texts on which the model must not get worse.
    pub probe: Option<PathBuf>,
    /// What to do if the session in the store was begun with something else.
    pub on_change: OnChange,
    /// Bytes of memory that the session may take, the mapped model not counted.
    pub memory_limit: Option<u64>,
    /// How GPUs may be used, if the settings ask for one.
    pub devices: DeviceOptions,
}

/// What to do if the base, the examples or the settings of the session under way have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// Refuse with [`Error::Changed`].
    #[default]
    Refuse,
    /// Forget it and begin a new one.
    StartAnew,
}

impl SessionRequest {
    /// A session with the default settings.
    pub fn new(model: PathBuf) -> Self {
        Self {
            model,
            training: TrainConfig::default(),
            gate: GateRules::default(),
            replay: DEFAULT_REPLAY,
            probe: None,
            on_change: OnChange::default(),
            memory_limit: None,
            devices: DeviceOptions::default(),
        }
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        self.training.validate()?;
        self.gate.validate()?;
        config::check("replay", self.replay, Allowed::Replay)?;
        if self.training.data.held_out <= 0.0 {
            return Err(Error::config("--held-out", ConfigProblem::NoHeldOut));
        }
        Ok(())
    }
}

/// What a night goes by, besides the settings of the training: the file that `nightgraft night --rules` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NightSettings {
    /// Old examples trained on again for each new one.
    pub replay: f64,
    /// When training may run.
    pub policy: Rules,
    /// When the result may be used.
    pub gate: GateRules,
}

impl Default for NightSettings {
    fn default() -> Self {
        Self { replay: DEFAULT_REPLAY, policy: Rules::default(), gate: GateRules::default() }
    }
}

impl NightSettings {
    /// Reads a TOML file with `replay` and the tables `[policy]` and `[gate]`; what is not named keeps its default.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Config`] with the place of what is wrong in it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let settings: Self = toml::from_str(&text).map_err(|error| {
            let message = error.to_string().trim_end().to_owned();
            Error::config("--rules", ConfigProblem::RulesSyntax { path: path.to_owned(), message })
        })?;
        settings.policy.validate()?;
        settings.gate.validate()?;
        Ok(settings)
    }
}
