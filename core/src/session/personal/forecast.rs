//! Before a session begins: whether it fits in the memory that there is, and how long it takes.

use std::time::{Duration, Instant};

use nightgraft_store::Error as StoreError;
use nightgraft_store::{Store, StoreProblem};
use nightgraft_text::{Date, Example};

use super::plan::{self, Choice, Work};
use super::{SessionRequest, memory_needs, open};
use crate::Result;
use crate::base::Base;
use crate::config::DataConfig;
use crate::device::FirstStep;
use crate::model_file::ModelFile;
use crate::session::inputs::Inputs;
use crate::session::memory_plan::{AdapterCopies, MemoryPlanner};
use crate::session::run_setup::{self, BegunRun, RunParts};
use crate::session::{StopFlag, devices};
use crate::train::{StepEvent, TrainLoop};

/// A speed is measured for so long, and over one step at least; the first step, which sets everything up, aside.
const MEASURED: Duration = Duration::from_secs(3);

/// What memory a session would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryForecast {
    /// Bytes for the way of training that was asked for, at full speed.
    pub full: u64,
    /// Bytes for the smallest: fewer tokens at a time, and slower.
    pub smallest: u64,
    /// The way that a session would choose within [`SessionRequest::memory_limit`]; none if even the smallest is too
    /// large.
    pub chosen: Option<ChosenSize>,
}

/// How a session would fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChosenSize {
    /// Bytes that it takes.
    pub bytes: u64,
    /// Tokens of a micro-batch; where that is left open, the most that it could be.
    pub batch_tokens: usize,
    /// Whether it is the slower way, with the same result as with so many tokens at full speed.
    pub small: bool,
}

/// What a session would have to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeForecast {
    /// Examples that it would train on; none if there is nothing to learn, or too little.
    pub examples: u64,
    /// Tokens in all passes over them.
    pub tokens: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// The speed of this device, measured with these examples; 0 if there are none.
    pub tokens_per_second: f64,
    /// Seconds of training without a pause. Measuring the result, before and after, comes on top.
    pub seconds: f64,
}

/// Plans the memory of a session with examples of up to `context` tokens, without beginning one. It is that of the processor.
///
/// # Errors
/// Any of [`Error`](crate::Error)'s for an unusable model or settings; too little memory is not one of them.
pub fn forecast_memory(request: &SessionRequest) -> Result<MemoryForecast> {
    request.validate()?;
    let mut config = request.training.clone();
    let base = Base::open(ModelFile::open(&request.model)?)?;
    let start = run_setup::initial_adapter(&mut config, None, &base)?;
    let longest = config.data.context.min(base.spec.n_ctx_train);
    let (mut full, mut smallest, mut chosen) = (None, 0, None);
    for size in memory_needs::batch_sizes(&request.training.data) {
        config.data.batch_tokens = size.into();
        let sizes = [size.max(longest) as u64, memory_needs::SESSION_OVERHEAD];
        let planner = MemoryPlanner::new(&base, &start, &config, AdapterCopies::of(&config), sizes, None)?;
        let fastest = planner.choose_policy(None)?;
        let needs = memory_needs::needs(&planner, fastest);
        full = full.or(Some(needs.full));
        smallest = needs.small;
        if chosen.is_none()
            && let Ok(recompute) = planner.choose_policy(request.memory_limit)
        {
            let bytes = planner.plan(recompute).total;
            chosen = Some(ChosenSize { bytes, batch_tokens: size, small: recompute != fastest });
        }
    }
    Ok(MemoryForecast { full: full.unwrap_or(smallest), smallest, chosen })
}

/// Plans what a session on `store` would do, and makes a few of its steps, which are thrown away, to measure how fast
/// this device is. Takes some seconds; a raised flag ends it.
///
/// # Errors
/// Those of opening a session; [`Error::Cancelled`](crate::Error::Cancelled).
pub fn forecast_time(store: &Store, request: &SessionRequest, stop: &StopFlag) -> Result<TimeForecast> {
    request.validate()?;
    let inputs = Inputs::open(&request.model, Date::now())?;
    let settings = open::settings(request)?;
    let choice = Choice { replay: request.replay, held_out: f64::from(request.training.data.held_out) };
    let options = open::data_options(request);
    let count = open::count(&inputs, options);
    let Work::Train(plan, _) =
        plan::plan(store, inputs.base.fingerprint(), &settings, &choice, &request.gate, count, &mut |_| ())?
    else {
        return Ok(TimeForecast { examples: 0, tokens: 0, steps: 0, tokens_per_second: 0.0, seconds: 0.0 });
    };
    let train = open::encode(store, &plan.train, &inputs, &options).0;
    if train.examples.is_empty() {
        let problem = StoreProblem::NoUsableExample;
        return Err(StoreError::Refused { path: store.root().to_owned(), problem }.into());
    }
    let per_epoch = train.examples.iter().map(Example::len).sum::<usize>() as u64;
    let parent = plan.parent.map(|id| store.graft(id)).transpose()?.map(|graft| graft.adapter);
    let base = inputs.into_base();
    let gpu = devices::choose_for_session(&request.training.run, &request.devices, &base, stop, &mut |_| ())?;
    let parts = RunParts::new(request.training.clone(), parent, base, train, None)?.with_gpu(gpu);
    let one_size = |data: &DataConfig| vec![data.batch_tokens()];
    let setup = parts.fit(one_size, memory_needs::SESSION_OVERHEAD, request.memory_limit)?;
    let accumulate = setup.config.data.accumulate as u64;
    let BegunRun { mut train_loop, mut first_step, .. } = setup.begin(stop)?;
    first_step.iter_mut().for_each(FirstStep::begin);
    let steps = train_loop.progress().total_steps;
    let steps_of_epoch = train_loop.trainer().batches_of_epoch(0).div_ceil(accumulate).max(1);
    let tokens = (per_epoch as f64 * steps as f64 / steps_of_epoch as f64).round() as u64;
    let tokens_per_second = speed(&mut train_loop)?;
    let seconds = tokens as f64 / tokens_per_second;
    Ok(TimeForecast { examples: plan.train.len(), tokens, steps, tokens_per_second, seconds })
}

/// Tokens a second, the first micro-step aside if there are others.
fn speed(train_loop: &mut TrainLoop) -> Result<f64> {
    let mut rate = 0.0;
    let (mut began, mut tokens_before) = (Instant::now(), 0);
    for micro_step in 0.. {
        if let StepEvent::Ended(_) = train_loop.advance()? {
            break;
        }
        let tokens = train_loop.trainer().tokens();
        rate = (tokens - tokens_before) as f64 / began.elapsed().as_secs_f64();
        if micro_step == 0 {
            (began, tokens_before) = (Instant::now(), tokens);
        } else if began.elapsed() >= MEASURED {
            break;
        }
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nightgraft_kernels::WeightType;
    use nightgraft_store::StoreOptions;
    use nightgraft_tiny_model::{CHATML, TinyModel};

    use super::*;
    use crate::session::Session;

    #[test]
    fn forecasts_agree_with_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("tiny.gguf");
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&model).unwrap();
        let mut request = SessionRequest::new(model);
        request.training.data.context = 64;
        request.training.data.batch_tokens = 64.into();
        request.training.run.epochs = 3.into();
        let options = StoreOptions { seed: Some(5), ..StoreOptions::default() };
        let mut store = Store::open(&folder.path().join("store"), options).unwrap();
        let nothing = forecast_time(&store, &request, &StopFlag::new()).unwrap();
        assert_eq!((nothing.examples, nothing.steps, nothing.seconds), (0, 0, 0.0));
        let lines: Vec<_> = (0..30)
            .map(|i| serde_json::json!({ "text": format!("made up, number {i}: a longer line of text, {} words and the {i}th", i * 7) }).to_string())
            .collect();
        store.add(&lines).unwrap();

        let memory = forecast_memory(&request).unwrap();
        let time = forecast_time(&store, &request, &StopFlag::new()).unwrap();
        assert_eq!(memory.chosen, Some(ChosenSize { bytes: memory.full, batch_tokens: 64, small: false }));
        let stopped = StopFlag::new();
        stopped.raise();
        let error = forecast_time(&store, &request, &stopped).unwrap_err();
        assert!(matches!(error, crate::Error::Cancelled), "{error}");

        let tight = SessionRequest { memory_limit: Some(memory.smallest), ..request.clone() };
        assert_eq!(forecast_memory(&tight).unwrap().chosen.unwrap().bytes, memory.smallest);
        let impossible = SessionRequest { memory_limit: Some(memory.smallest - 1), ..request.clone() };
        assert_eq!(forecast_memory(&impossible).unwrap().chosen, None);

        let mut session = Session::open(store, request, &mut |_| ()).unwrap();
        assert_eq!(session.total_steps(), Some(time.steps));
        let needs = session.memory_needs().unwrap();
        assert!(needs.full <= memory.full && needs.full * 10 > memory.full * 9, "{needs:?} {memory:?}");
        let mut tokens = 0;
        session
            .run_slice(crate::session::Slice::default(), &StopFlag::new(), &mut |event| {
                if let crate::session::Event::Step(step) = event {
                    tokens += step.tokens;
                }
            })
            .unwrap();
        assert_eq!(tokens, time.tokens);
        assert!(time.tokens_per_second > 0.0 && time.seconds > 0.0, "{time:?}");
    }
}
