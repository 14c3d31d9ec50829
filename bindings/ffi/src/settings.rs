//! How stores and sessions are set up.

use std::path::{Path, PathBuf};

use nightgraft_core::config::{Device, Layers, Targets, TrainConfig};
use nightgraft_core::session::{DeviceOptions, OnChange, SessionRequest};
use nightgraft_policy::gate::GateRules;

use crate::error::Result;
use crate::model::BaseModel;

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct StoreSettings {
    /// 32 bytes from the system's key store, which encrypt a new store; none, which has to be said, for one that anybody
    /// can read who reads its files.
    pub key: Option<Vec<u8>>,
    /// The key that `key` takes the place of: a store that is still under it is opened with it, and its key changed. Given
    /// both each time, opening ends with the store under `key`, wherever an earlier change of it was killed.
    #[uniffi(default = None)]
    pub former_key: Option<Vec<u8>>,
    /// Bytes that all files of the store may take together; none for no limit.
    #[uniffi(default = None)]
    pub quota: Option<u64>,
    /// Grafts that are kept; at least the newest, the one in use and the one before that are.
    #[uniffi(default = 5)]
    pub keep: u32,
    /// Begin a new store if there is none in the folder.
    #[uniffi(default = true)]
    pub create: bool,
    /// What every random choice of a new store begins with; random if none.
    #[uniffi(default = None)]
    pub seed: Option<u64>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { key: None, former_key: None, quota: None, keep: 5, create: true, seed: None }
    }
}

/// How a session trains, and what its result must prove.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct SessionSettings {
    /// Inner dimension of each low-rank pair, 1 to 256.
    #[uniffi(default = 8)]
    pub rank: u32,
    /// Each pair's output is scaled by `alpha / rank`.
    #[uniffi(default = 16.0)]
    pub alpha: f32,
    /// The matrices that get a pair: `all`, `attn`, `mlp`, or GGUF names with commas between them.
    #[uniffi(default = "all")]
    pub targets: String,
    /// The layers that get pairs: `all`, `last:N`, or `a..b`. Fewer top layers train faster.
    #[uniffi(default = "all")]
    pub layers: String,
    /// The fraction of a pair's inputs that is zeroed while training, from 0 to below 1.
    #[uniffi(default = 0.0)]
    pub dropout: f32,
    /// The highest learning rate of the schedule; none for the one that suits what there is to learn.
    #[uniffi(default = None)]
    pub learning_rate: Option<f64>,
    /// Passes over the examples; not used when `steps` is set.
    #[uniffi(default = 3)]
    pub epochs: u32,
    /// Optimizer steps, instead of `epochs`.
    #[uniffi(default = None)]
    pub steps: Option<u32>,
    /// The longest example, in tokens; longer ones are split.
    #[uniffi(default = 256)]
    pub context: u32,
    /// The most tokens that are worked on at a time, at least `context`; none for 64 to 512, by how much there is to learn.
    #[uniffi(default = None)]
    pub batch_tokens: Option<u32>,
    /// Micro-batches that make one optimizer step.
    #[uniffi(default = 1)]
    pub accumulate: u32,
    /// The share of the examples that is kept back, to judge the result on. Where it gives fewer than `min_held_out`, up
    /// to a quarter of them is; with fewer examples than that takes (16 with the defaults) nothing is trained.
    #[uniffi(default = 0.1)]
    pub held_out: f32,
    /// Old examples that are trained on again for each new one.
    #[uniffi(default = 1.0)]
    pub replay: f64,
    /// Optimizer steps between two checkpoints. The end of a slice saves in any case.
    #[uniffi(default = 20)]
    pub checkpoint_every: u32,
    /// Decides the initial adapter, the order and the dropout.
    #[uniffi(default = 42)]
    pub seed: u64,
    /// Threads that compute; none for one a core. The result does not depend on it.
    #[uniffi(default = None)]
    pub threads: Option<u32>,
    /// What computes: `cpu`, `gpu`, `gpu:N`, or `auto` for a GPU that computes right and faster than the processor. Whatever a
    /// GPU does wrong, the session goes on with the processor, and a warning says why.
    #[uniffi(default = "cpu")]
    pub device: String,
    /// Bytes of memory that the session may take, the mapped model not counted; none for no limit.
    #[uniffi(default = None)]
    pub memory_limit: Option<u64>,
    /// Whether a session that was begun with other settings is thrown away; otherwise it is refused.
    #[uniffi(default = false)]
    pub start_anew: bool,
    /// What the result must prove before it is used; none for the defaults.
    #[uniffi(default = None)]
    pub gate: Option<GateSettings>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            targets: "all".into(),
            layers: "all".into(),
            dropout: 0.0,
            learning_rate: None,
            epochs: 3,
            steps: None,
            context: 256,
            batch_tokens: None,
            accumulate: 1,
            held_out: 0.1,
            replay: 1.0,
            checkpoint_every: 20,
            seed: 42,
            threads: None,
            device: "cpu".into(),
            memory_limit: None,
            start_anew: false,
            gate: None,
        }
    }
}

/// What a new adapter must prove before it is used by itself. A graft that fails stays in the store, refused.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct GateSettings {
    /// Held-out examples that are needed to judge; without them nothing is trained.
    #[uniffi(default = 4)]
    pub min_held_out: u32,
    /// The share of the loss on held-out examples that it must save, compared with the base.
    #[uniffi(default = 0.01)]
    pub min_gain: f64,
    /// The share of the loss on held-out examples that it must save, compared with the graft in use.
    #[uniffi(default = 0.002)]
    pub min_gain_on_current: f64,
    /// The share by which its loss on general texts may be higher than the base's.
    #[uniffi(default = 0.2)]
    pub max_forgetting: f64,
    /// How much more of the loss it may save on the examples that it was trained on than on held-out ones.
    #[uniffi(default = 0.25)]
    pub max_overfit: f64,
    /// The share of the loss that the order of words must save: less is no language. 0 switches it off.
    #[uniffi(default = 0.07)]
    pub min_word_order: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        let rules = GateRules::default();
        Self {
            min_held_out: u32::try_from(rules.min_held_out).unwrap_or(u32::MAX),
            min_gain: rules.min_gain,
            min_gain_on_current: rules.min_gain_on_current,
            max_forgetting: rules.max_forgetting,
            max_overfit: rules.max_overfit,
            min_word_order: rules.min_word_order,
        }
    }
}

impl SessionSettings {
    /// Makes the engine's request of them, for a session on a store in this folder.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`](crate::NightgraftError::Unsupported) names the setting that makes no sense.
    pub(crate) fn request(&self, model: &BaseModel, store: Option<&Path>) -> Result<SessionRequest> {
        let mut request = SessionRequest::new(model.path().to_owned());
        request.devices = DeviceOptions { allow_software: false, records: store.map(device_records) };
        request.training = self.training()?;
        // A prompt with its completion is a conversation for a model that knows conversations.
        request.training.data.chat = model.info().has_chat_template;
        request.replay = self.replay;
        request.memory_limit = self.memory_limit;
        request.on_change = if self.start_anew { OnChange::StartAnew } else { OnChange::Refuse };
        if let Some(gate) = self.gate {
            request.gate = GateRules {
                min_held_out: gate.min_held_out.into(),
                min_gain: gate.min_gain,
                min_gain_on_current: gate.min_gain_on_current,
                max_forgetting: gate.max_forgetting,
                max_overfit: gate.max_overfit,
                min_word_order: gate.min_word_order,
                ..GateRules::default()
            };
        }
        request.validate()?;
        Ok(request)
    }

    fn training(&self) -> Result<TrainConfig> {
        let mut training = TrainConfig::default();
        training.lora.rank = self.rank as usize;
        training.lora.alpha = self.alpha;
        training.lora.targets = self.targets.parse::<Targets>()?;
        training.lora.layers = self.layers.parse::<Layers>()?;
        training.lora.dropout = self.dropout;
        training.optimizer.lr = self.learning_rate.into();
        training.data.batch_tokens = self.batch_tokens.map(|n| n.max(self.context) as usize).into();
        training.data.context = self.context as usize;
        training.data.accumulate = self.accumulate as usize;
        training.data.held_out = self.held_out;
        training.run.epochs = u64::from(self.epochs).into();
        training.run.steps = self.steps.map(u64::from);
        training.run.seed = self.seed;
        training.run.threads = self.threads.map(|n| n as usize);
        training.run.device = self.device.parse::<Device>()?;
        training.run.checkpoint_every = self.checkpoint_every.into();
        Ok(training)
    }
}

/// Where it is kept what was found out about GPUs: beside a store, which has files of its own alone.
fn device_records(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".devices");
    store.with_file_name(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The attributes, which foreign callers get, stand beside these numbers.
    #[test]
    fn the_sessions_defaults_are_the_engines() {
        let settings = SessionSettings::default();
        let mut engines = TrainConfig::default();
        engines.run.epochs = engines.run.epochs().into();
        assert_eq!(settings.training().unwrap(), engines);
        assert_eq!(settings.replay, SessionRequest::new("model.gguf".into()).replay);
    }

    /// Foreign callers get the numbers of the attributes.
    #[test]
    fn the_gates_defaults_are_the_engines() {
        let written = GateSettings {
            min_held_out: 4,
            min_gain: 0.01,
            min_gain_on_current: 0.002,
            max_forgetting: 0.2,
            max_overfit: 0.25,
            min_word_order: 0.07,
        };
        assert_eq!(GateSettings::default(), written);
    }
}
