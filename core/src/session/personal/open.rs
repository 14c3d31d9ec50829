//! Opening a session: finding what there is to do, or where it was left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightgraft_policy::gate;
use nightgraft_store::Error as StoreError;
use nightgraft_store::{IdSet, Store, StoreProblem, checkpoint};
use nightgraft_text::Error as TextError;
use nightgraft_text::data::{self, DataOptions, DataProblem, Dataset};
use nightgraft_text::{Date, Example};

use super::measure::{GateSets, ShuffledLine};
use super::plan::{self, Choice, PLAN, SessionPlan, Work};
use super::settings::PROBE;
use super::{
    NothingToDo, OnChange, Session, SessionRequest, SliceOutcome, Stage, Training, memory_needs, model_hash,
};
use crate::base::Base;
use crate::config::{DataConfig, TrainConfig};
use crate::lora::mismatch;
use crate::session::inputs::Inputs;
use crate::session::resume::{self, RunIdentity, SavedRun};
use crate::session::run_setup::RunParts;
use crate::session::train_run::{RunHome, TrainRun};
use crate::session::{DiscardReason, Event, Leftover, StopFlag, devices, inputs, inspect};
use crate::{Error, Result};

/// Examples of those trained on that the gate looks at.
const MAX_TRAIN_SAMPLE: usize = 32;
/// Lines that the gate looks at with their words shuffled.
const MAX_SHUFFLED: usize = 16;
/// Texts of a retention probe, at most.
const MAX_PROBE: usize = 200;
/// A run is saved this often at least, however long its steps are.
const SAVE_EVERY: Duration = Duration::from_secs(300);

impl Session {
    /// Opens the session that the store has under way, or begins one if there is something to learn.
    ///
    /// # Errors
    /// [`Error::Changed`] if the session under way was begun with another base, other settings, or examples that are
    /// gone, unless it is to start anew; [`Error::OutOfMemoryBudget`] if it cannot fit in the memory that it may
    /// take; any other for files that cannot be used.
    pub fn open(mut store: Store, request: SessionRequest, on_event: &mut dyn FnMut(&Event)) -> Result<Self> {
        request.validate()?;
        if store.take_dropped_session() {
            on_event(&Event::Discarded { what: Leftover::Session, why: DiscardReason::ExamplesDeleted });
        }
        let now = request.training.data.date.unwrap_or_else(Date::now);
        let mut inputs = Inputs::open(&request.model, now)?;
        on_event(&Event::Model(inspect(&request.model)?));
        let over = |store, request, outcome| {
            Ok(Self {
                store,
                request,
                stage: Stage::Over(outcome),
                halt: StopFlag::new(),
                busy: Duration::ZERO,
            })
        };

        let settings = settings(&request)?;
        let mut plan = match under_way(&mut store, &request, &inputs.base, &settings, on_event)? {
            Some(plan) => plan,
            None => {
                let choice =
                    Choice { replay: request.replay, held_out: f64::from(request.training.data.held_out) };
                let count = count(&inputs, data_options(&request));
                let base = inputs.base.fingerprint();
                match plan::plan(&store, base, &settings, &choice, &request.gate, count, on_event)? {
                    Work::Train(plan, drawn) => {
                        plan::remember_drawn(&store, &drawn)?;
                        *plan
                    }
                    Work::Return(graft) => {
                        store.promote(graft)?;
                        let reason = NothingToDo::InUseAgain { graft };
                        return over(store, request, SliceOutcome::NothingToDo { reason });
                    }
                    Work::Nothing(reason) => {
                        if matches!(reason, NothingToDo::TooFew { .. }) {
                            tell_unusable(&store, &inputs, &data_options(&request), on_event);
                        }
                        drop_session(&mut store, DiscardReason::Over, on_event)?; // what damage may have left
                        return over(store, request, SliceOutcome::NothingToDo { reason });
                    }
                }
            }
        };
        let mut begun = plan.decided();
        if plan.date.is_none() || plan.precision.is_none() {
            // Checkpoints are there if the plan was damaged, or made by an earlier build.
            let saved = resume::saved_settings(store.vault(), &store.session_folder())?;
            let date = plan.date.or(request.training.data.date).or(saved.data.date);
            plan.date = Some(date.unwrap_or(now));
            begun.resolve_auto_as(&saved);
        }
        inputs.set_date(plan.date.unwrap_or(now));
        let halt = StopFlag::new();
        let training = begin(&mut store, &request, inputs, (plan, &begun), &halt, on_event)?;
        Ok(Self { store, request, stage: Stage::Training(Box::new(training)), halt, busy: Duration::ZERO })
    }
}

/// The plan of the session under way, if there is one that can go on.
fn under_way(
    store: &mut Store,
    request: &SessionRequest,
    base: &Base,
    settings: &str,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<SessionPlan>> {
    let mut plan: SessionPlan = match store.read_document(PLAN) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            // What a killed process may have left of the one before.
            drop_session(store, DiscardReason::Over, on_event)?;
            return Ok(None);
        }
        // Made again from the same examples it is the same plan, and the checkpoints are still of use.
        Err(error @ StoreError::Corrupted { .. }) => {
            on_event(&Event::Discarded { what: Leftover::Plan, why: (&error).into() });
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    if plan.has_lost_its_start(store)? {
        drop_session(store, DiscardReason::LostStart, on_event)?;
        return Ok(None);
    }
    match (
        plan.difference(store, base.fingerprint(), settings, request.training.data.date),
        request.on_change,
    ) {
        (None, _) => {
            if plan.date.is_none() {
                // Plans did not always have it. They were written when a session began, and dates were those of UTC.
                plan.date = store.document_written(PLAN)?.map(Date::utc);
                store.write_document(PLAN, &plan)?;
            }
            Ok(Some(plan))
        }
        (Some(what), OnChange::Refuse) => Err(Error::Changed { what }),
        (Some(what), OnChange::StartAnew) => {
            drop_session(store, DiscardReason::Changed { what }, on_event)?;
            Ok(None)
        }
    }
}

/// Removes what there is of a session, and says so.
fn drop_session(store: &mut Store, why: DiscardReason, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
    if store.drop_session()? {
        on_event(&Event::Discarded { what: Leftover::Session, why });
    }
    Ok(())
}

/// Puts the run together, in the memory that it may take, and sets it back to its newest valid checkpoint. What the request
/// leaves open is as it was when the session was `begun`, as far as it was decided then.
fn begin(
    store: &mut Store,
    request: &SessionRequest,
    inputs: Inputs,
    (mut plan, begun): (SessionPlan, &TrainConfig),
    halt: &StopFlag,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Training> {
    let options = data_options(request);
    let (train, mut unusable) = encode(store, &plan.train, &inputs, &options);
    let (held_out, others) = encode(store, &plan.held_out, &inputs, &options);
    on_event(&Event::Data {
        train: train.report.clone(),
        held_out: (!held_out.examples.is_empty()).then(|| held_out.report.clone()),
    });
    unusable.add(others);
    unusable.tell(plan.train.len() + plan.held_out.len(), on_event);
    let sets = GateSets {
        retention: probe(request, &inputs, &options)?,
        order: shuffled(store, &plan, &inputs, &options),
        held_out: held_out.examples.clone(),
        train: spread(&train.examples, MAX_TRAIN_SAMPLE),
    };
    let base = inputs.into_base();

    let parent = plan.parent.map(|id| store.graft(id)).transpose()?.map(|graft| graft.adapter);
    if let Some(misfit) = parent.as_ref().and_then(|adapter| mismatch(adapter, &base)) {
        let problem = StoreProblem::Misfit(misfit);
        return Err(StoreError::Refused { path: store.root().to_owned(), problem }.into());
    }
    let mut config = request.training.clone();
    config.data.date = plan.date;
    // A session under way keeps what it was begun with: anything else would change the result.
    config.resolve_auto_as(begun);
    let gpu = devices::choose_for_session(&config.run, &request.devices, &base, halt, on_event)?;
    let judge = devices::choose_judge(gpu.as_ref(), &config.run, &request.devices, &base, halt)?;
    let parts = RunParts::new(config, parent, base, train, Some(held_out))?.with_gpu(gpu);
    for notice in parts.notices() {
        on_event(&Event::Warning { text: notice.to_string() });
    }
    let sizes = |data: &DataConfig| {
        plan.batch_tokens.map_or_else(|| memory_needs::batch_sizes(data), |size| vec![size])
    };
    let setup = parts.fit(sizes, memory_needs::SESSION_OVERHEAD, request.memory_limit)?;
    setup.refused_gpu().iter().for_each(&mut *on_event);
    if plan.batch_tokens.is_none() || plan.precision.is_none() {
        plan.batch_tokens = setup.config.data.batch_tokens.given();
        plan.epochs = setup.config.run.epochs.given();
        plan.lr = setup.config.optimizer.lr.given();
        plan.precision = Some(setup.config.run.precision);
        store.write_document(PLAN, &plan)?;
    }
    let saved = saved_run(store, &setup.identity, on_event)?;
    let hash_check = model_hash::check(store, &setup.base, request.on_change)?;
    let needs = memory_needs::needs(&setup.planner, setup.recompute);
    let gpu = judge.filter(|_| setup.has_gpu());
    let mut run = TrainRun::new(setup, hash_check, SAVE_EVERY, halt)?;
    let resumed = saved.map(|saved| run.restore(saved)).transpose()?.unwrap_or_default();
    on_event(&Event::planned(&run.train_loop, inputs::threads(request.training.run.threads)));
    resumed.iter().for_each(&mut *on_event);
    Ok(Training { run, plan, sets, needs, gpu })
}

/// The checkpoint that the session goes on from, if there is one. Those of another session are cleared away.
fn saved_run(
    store: &Store,
    identity: &RunIdentity,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<SavedRun>> {
    let (folder, vault) = store.checkpoints();
    match resume::load(vault, &folder, identity, on_event) {
        // The plan was damaged, and examples have come since: it is another one now.
        Err(Error::Store(StoreError::Checkpoint { problem, .. })) if problem.is_of_another_run() => {
            checkpoint::clear(vault, &folder)?;
            let why = DiscardReason::OtherRun(problem);
            on_event(&Event::Discarded { what: Leftover::Checkpoints, why });
            Ok(None)
        }
        // The store's key opened the store: checkpoints that it does not open are damaged, and were told of.
        Err(Error::Store(StoreError::WrongKey { .. })) => {
            checkpoint::clear(vault, &folder)?;
            Ok(None)
        }
        loaded => loaded,
    }
}

/// How the store's lines are read.
pub(super) fn data_options(request: &SessionRequest) -> DataOptions {
    let data = &request.training.data;
    DataOptions { context: data.context, chat: data.chat, skip_bad: true }
}

/// Tells how many examples a stored line is to the gate: a long text is several, and one that this model cannot use none.
pub(super) fn count(inputs: &Inputs, options: DataOptions) -> impl Fn(&str) -> u64 {
    move |line| {
        let name = Path::new("an example");
        let read = data::load_line(name, line, &inputs.tokenizer, inputs.template.as_ref(), &options);
        let is_measured =
            |example: &&Example| example.targets.iter().any(|target| *target != Example::NO_LOSS);
        read.map_or(0, |line| line.examples.iter().filter(is_measured).count() as u64)
    }
}

/// Tells how many of the store's examples this model cannot use, and why the first: without them there may be too few.
fn tell_unusable(store: &Store, inputs: &Inputs, options: &DataOptions, on_event: &mut dyn FnMut(&Event)) {
    let name = Path::new("an example");
    let read =
        |line: &str| data::load_line(name, line, &inputs.tokenizer, inputs.template.as_ref(), options).err();
    let mut unusable = Unusable::default();
    store.examples().iter().filter_map(|example| read(&example.line)).for_each(|why| unusable.count(why));
    unusable.tell(store.examples().len() as u64, on_event);
}

/// Examples that a model cannot use.
#[derive(Default)]
pub(super) struct Unusable {
    examples: u64,
    /// Why the first of them cannot be used.
    first: Option<TextError>,
}

impl Unusable {
    fn count(&mut self, why: TextError) {
        self.examples += 1;
        self.first.get_or_insert(why);
    }

    fn add(&mut self, others: Self) {
        self.examples += others.examples;
        self.first = self.first.take().or(others.first);
    }

    /// Tells of them, out of so many examples in all, in one sentence.
    fn tell(&self, of: u64, on_event: &mut dyn FnMut(&Event)) {
        let Self { examples, first: Some(first) } = self else { return };
        let text = format!("{examples} of {of} examples cannot be used with this model; the first: {first}");
        on_event(&Event::Warning { text });
    }
}

/// What decides the result of a session, besides its examples and its date.
pub(super) fn settings(request: &SessionRequest) -> Result<String> {
    let mut training = request.training.clone();
    training.data.date = None;
    Ok(format!("{}replay = {:?}\n", resume::result_affecting_settings(&training)?, request.replay))
}

/// The examples with these ids. What is stored was checked when it came; what this model cannot use all the same is
/// counted apart, and does not stop the night.
pub(super) fn encode(
    store: &Store,
    ids: &IdSet,
    inputs: &Inputs,
    options: &DataOptions,
) -> (Dataset, Unusable) {
    let (mut dataset, mut unusable) = (Dataset::default(), Unusable::default());
    for example in store.examples().iter().filter(|example| ids.contains(example.id.0)) {
        let name = PathBuf::from(format!("example {}", example.id));
        match data::load_line(&name, &example.line, &inputs.tokenizer, inputs.template.as_ref(), options) {
            Ok(line) => dataset.append(line),
            Err(error) => unusable.count(error),
        }
    }
    (dataset, unusable)
}

/// The texts on which the model must not get worse. Chats are left out for a model without a template.
fn probe(request: &SessionRequest, inputs: &Inputs, options: &DataOptions) -> Result<Vec<Example>> {
    let built_in = Path::new("the built-in probe");
    let (name, text) = match &request.probe {
        Some(path) => (path.as_path(), fs::read_to_string(path).map_err(Error::io("read", path))?),
        None => (built_in, PROBE.to_owned()),
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let loaded = lines.filter_map(|line| {
        data::load_line(name, line, &inputs.tokenizer, inputs.template.as_ref(), options).ok()
    });
    let examples: Vec<_> = loaded.flat_map(|line| line.examples).take(MAX_PROBE).collect();
    if examples.is_empty() {
        let problem = DataProblem::NothingToMeasure;
        return Err(TextError::Data { path: name.to_owned(), line: None, problem }.into());
    }
    Ok(examples)
}

/// Some of the user's lines with their words shuffled, which tells whether they are language.
fn shuffled(store: &Store, plan: &SessionPlan, inputs: &Inputs, options: &DataOptions) -> Vec<ShuffledLine> {
    let ours = store
        .examples()
        .iter()
        .filter(|example| plan.train.contains(example.id.0) || plan.held_out.contains(example.id.0));
    let name = Path::new("an example");
    let encode =
        |line: &str| data::load_line(name, line, &inputs.tokenizer, inputs.template.as_ref(), options).ok();
    let twice = ours.filter_map(|example| {
        let shuffled = encode(&gate::shuffled_line(&example.line, example.id.0)?)?.examples;
        Some(ShuffledLine { original: encode(&example.line)?.examples, shuffled })
    });
    spread(&twice.collect::<Vec<_>>(), MAX_SHUFFLED)
}

/// Up to `n` of them, evenly spread.
fn spread<T: Clone>(examples: &[T], n: usize) -> Vec<T> {
    let n = n.min(examples.len());
    (0..n).map(|i| examples[i * examples.len() / n].clone()).collect()
}
