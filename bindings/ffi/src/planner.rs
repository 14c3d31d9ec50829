//! Before a session: will it fit, and how long does it take?

use std::sync::Arc;

use nightgraft_core::session::{self, StopFlag};

use crate::error::Result;
use crate::executor::TRAINING_EXECUTOR;
use crate::model::BaseModel;
use crate::settings::SessionSettings;
use crate::store::AdapterStore;

/// Answers questions about sessions with one base, without beginning one.
#[derive(uniffi::Object)]
pub struct Planner {
    model: Arc<BaseModel>,
}

/// What memory a session would take, the mapped model not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct MemoryPlan {
    /// Whether it fits in the settings' `memory_limit`.
    pub fits: bool,
    /// Bytes of the way that it would choose; if nothing fits, of the settings' own.
    pub needed: u64,
    /// Bytes of the smallest way.
    pub smallest: u64,
    /// Tokens that it would work on at a time, at most; 0 if nothing fits.
    pub batch_tokens: u32,
    /// Whether it would be the slower way, with the same result.
    pub slower: bool,
}

/// What a session would have to do.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct TimePlan {
    /// Examples that it would train on; 0 if there is nothing to learn.
    pub examples: u64,
    /// Tokens in all passes over them.
    pub tokens: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// The speed of this device now, which may be cooler than it will be; phones keep about half of it for long.
    pub tokens_per_second: f64,
    /// Seconds of training at that speed. Measuring the result, before and after, comes on top.
    pub seconds: f64,
}

#[uniffi::export]
impl Planner {
    /// For sessions with this base.
    #[uniffi::constructor]
    pub fn new(model: Arc<BaseModel>) -> Arc<Self> {
        Arc::new(Self { model })
    }

    /// Plans the memory of a session. Too little memory is no error here.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidModel`](crate::NightgraftError::InvalidModel);
    /// [`NightgraftError::Unsupported`](crate::NightgraftError::Unsupported) for settings that make no sense.
    pub async fn memory(&self, settings: SessionSettings) -> Result<MemoryPlan> {
        self.model.check_trainable()?;
        let request = settings.request(&self.model, None)?;
        TRAINING_EXECUTOR
            .run(move || {
                let forecast = session::forecast_memory(&request)?;
                let chosen = forecast.chosen;
                Ok(MemoryPlan {
                    fits: chosen.is_some(),
                    needed: chosen.map_or(forecast.full, |chosen| chosen.bytes),
                    smallest: forecast.smallest,
                    batch_tokens: chosen
                        .map_or(0, |chosen| u32::try_from(chosen.batch_tokens).unwrap_or(u32::MAX)),
                    slower: chosen.is_some_and(|chosen| chosen.small),
                })
            })
            .await
    }

    /// Plans what a session on `store` would do, and makes a few of its steps, which are thrown away, to measure how
    /// fast this device is: some seconds.
    ///
    /// # Errors
    /// As [`memory`](Self::memory), and those of the store.
    pub async fn time(&self, store: Arc<AdapterStore>, settings: SessionSettings) -> Result<TimePlan> {
        self.model.check_trainable()?;
        let request = settings.request(&self.model, Some(store.shared().folder()))?;
        let flag = StopFlag::new();
        let _stop = StopOnDrop(flag.clone());
        TRAINING_EXECUTOR
            .run(move || {
                let forecast =
                    store.shared().with(|store| Ok(session::forecast_time(store, &request, &flag)?))?;
                let session::TimeForecast { examples, tokens, steps, tokens_per_second, seconds } = forecast;
                Ok(TimePlan { examples, tokens, steps, tokens_per_second, seconds })
            })
            .await
    }
}

/// Ends the measurement when nobody waits for it.
struct StopOnDrop(StopFlag);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}
