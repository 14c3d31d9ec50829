//! Measuring a model, with or without an adapter, on a data file.

use std::path::PathBuf;

use serde::Serialize;

use super::StopFlag;
use super::inputs::{Inputs, threads};
use crate::config::DataConfig;
use crate::export::read_adapter;
use crate::lora::Adapter;
use crate::train;
use crate::transformer::Model;
use crate::{Error, Result};

/// What to measure.
#[derive(Debug, Clone)]
pub struct EvalRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// A PEFT folder or GGUF adapter.
    pub adapter: Option<PathBuf>,
    /// The data file.
    pub data: PathBuf,
    /// How the data is read.
    pub data_config: DataConfig,
    /// Threads; none means one for each core.
    pub threads: Option<usize>,
}

/// What was measured, over supervised tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvalReport {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// How often the most likely token was the right one, 0 to 1.
    pub accuracy: f64,
    /// How many tokens that is.
    pub supervised_tokens: u64,
}

/// Measures; calls `on_progress` with tokens done and tokens in all.
///
/// # Errors
/// Any of [`crate::Error`]'s for unusable files; [`crate::Error::Cancelled`] if stopped.
pub fn evaluate(
    request: &EvalRequest,
    stop: &StopFlag,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<EvalReport> {
    let inputs = Inputs::open(&request.model)?;
    let examples = inputs.load(&request.data, &request.data_config)?.examples;
    let Inputs { base, .. } = inputs;
    let adapter = request.adapter.as_ref().map(|path| read_adapter(path, &base)).transpose()?;
    let adapter = adapter.as_ref().map(Adapter::new).transpose()?;
    let batch_tokens = request.data_config.batch_tokens;
    let mut model =
        Model::new(base, adapter.as_ref(), false, batch_tokens, threads(request.threads), stop.raw())?;

    let total = examples.iter().map(|example| example.ids.len() as u64).sum();
    let mut done = 0;
    let sum = train::evaluate(&mut model, &examples, batch_tokens, |tokens| {
        done += tokens;
        on_progress(done, total);
    })?;
    let n = sum.supervised as f64;
    let loss = sum.loss / n;
    if !loss.is_finite() {
        return Err(Error::NotANumber { what: "the loss" });
    }
    Ok(EvalReport {
        loss,
        perplexity: loss.exp(),
        accuracy: sum.correct as f64 / n,
        supervised_tokens: sum.supervised,
    })
}
