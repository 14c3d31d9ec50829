//! A device, and work on it, that take simulated time.

use std::sync::Arc;

use nightgraft_policy::gate::GateReport;
use nightgraft_policy::{LocalTime, Thermal};
use nightgraft_store::StoreOptions;
use tempfile::TempDir;

use super::super::*;
use crate::session::{NothingToDo, SessionReport, StepMetrics};

pub(super) const GIB: u64 = 1 << 30;
/// 23:00 on a day that begins at noon.
const BEGINS: i64 = (20_000 * 24 + 23) * 3600;

/// The time since the simulation began. Clones are one clock.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<Mutex<Duration>>);

impl Clock {
    fn now(&self) -> Duration {
        *lock(&self.0)
    }

    pub(super) fn pass(&self, time: Duration) {
        *lock(&self.0) += time;
    }
}

/// A device whose state is a function of the seconds since the simulation began.
struct SimulatedDevice<F> {
    clock: Clock,
    night_began: Duration,
    state_at: F,
}

impl<F: Fn(u64) -> Result<DeviceState>> Platform for SimulatedDevice<F> {
    fn state(&mut self) -> Result<DeviceState> {
        let now = self.clock.now().as_secs();
        let time = LocalTime { unix: BEGINS + now as i64, utc_offset: 0 };
        Ok(DeviceState { time, ..(self.state_at)(now)? })
    }

    fn elapsed(&self) -> Duration {
        self.clock.now() - self.night_began
    }

    fn wait(&mut self, at_most: Duration, _: &StopFlag) {
        self.clock.pass(at_most);
    }
}

/// A phone on its charger.
pub(super) fn ready() -> DeviceState {
    DeviceState {
        charging: true,
        battery: 1.0,
        thermal: Thermal::Nominal,
        temperature: Some(25.0),
        low_power_mode: false,
        idle: true,
        memory_available: 8 * GIB,
        storage_free: 64 * GIB,
        time: LocalTime { unix: 0, utc_offset: 0 },
    }
}

/// Optimizer steps that take simulated time, with a look at the device before each.
pub(super) struct SimulatedWork {
    pub(super) store: Store,
    pub(super) clock: Clock,
    step_takes: Duration,
    pub(super) steps: u64,
    total: u64,
    busy: Duration,
    pub(super) nothing: Option<NothingToDo>,
    /// The longest time of each slice.
    pub(super) slices: Vec<Duration>,
    /// What [`Work::set_small`] was called with.
    pub(super) small: Vec<bool>,
    /// The seconds in the ledger after each look.
    pub(super) ledger: Vec<f64>,
}

impl Work for SimulatedWork {
    fn store(&self) -> &Store {
        &self.store
    }

    fn nothing_to_do(&self) -> Option<NothingToDo> {
        self.nothing
    }

    fn total_steps(&self) -> Option<u64> {
        Some(self.total)
    }

    fn steps(&self) -> Option<u64> {
        Some(self.steps)
    }

    fn busy(&self) -> Duration {
        self.busy
    }

    fn needs(&self) -> Needs {
        Needs { memory: 2 * GIB, small_memory: Some(GIB), storage: 1 << 20 }
    }

    fn set_small(&mut self, small: bool) {
        self.small.push(small);
    }

    fn run_slice(
        &mut self,
        slice: Slice<'_>,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<SliceOutcome> {
        let (time, watch) = (slice.time.unwrap(), slice.watch.unwrap());
        self.slices.push(time);
        let ends = self.clock.now() + time;
        while self.steps < self.total {
            let ended = if stop.is_raised() {
                Watch::Pause(Pause::Stopped)
            } else if self.clock.now() >= ends {
                Watch::Pause(Pause::Deadline)
            } else {
                watch()
            };
            let duty = match ended {
                Watch::Continue { duty } => duty,
                Watch::Pause(reason) => return Ok(SliceOutcome::Paused { reason }),
            };
            self.ledger.push(self.spent());
            self.busy += self.step_takes;
            self.clock.pass(self.step_takes.div_f64(duty));
            self.steps += 1;
            on_event(&Event::Step(metrics(self.steps)));
        }
        let report = SessionReport {
            trained: 0,
            replayed: 0,
            held_out: 0,
            learned: None,
            gate: GateReport::diverged(),
            graft: None,
            promoted: false,
        };
        Ok(SliceOutcome::Finished { report: Box::new(report) })
    }
}

impl SimulatedWork {
    /// Seconds of work in the ledger, all days together.
    pub(super) fn spent(&self) -> f64 {
        document::<Usage>(&self.store, USAGE).unwrap().days().iter().map(|spent| spent.seconds).sum()
    }
}

fn metrics(step: u64) -> StepMetrics {
    StepMetrics {
        step,
        loss: 1.0,
        tokens: 64,
        supervised_tokens: 64,
        lr: 1e-3,
        grad_norm: 1.0,
        seconds: 1.0,
        tokens_per_second: 64.0,
        rss_bytes: 0,
    }
}

/// A store and the work on it.
pub(super) struct Simulation {
    _folder: TempDir,
    pub(super) work: SimulatedWork,
    pub(super) rules: Rules,
    events: Vec<NightEvent>,
}

impl Simulation {
    pub(super) fn new(total: u64, step_seconds: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let work = SimulatedWork {
            store: Store::open(folder.path(), options).unwrap(),
            clock: Clock::default(),
            step_takes: Duration::from_secs(step_seconds),
            steps: 0,
            total,
            busy: Duration::ZERO,
            nothing: None,
            slices: Vec::new(),
            small: Vec::new(),
            ledger: Vec::new(),
        };
        Self { _folder: folder, work, rules: Rules::default(), events: Vec::new() }
    }

    /// One night of so many seconds, stopped when an event says so.
    pub(super) fn night(
        &mut self,
        seconds: u64,
        state_at: impl Fn(u64) -> Result<DeviceState> + Send,
        stops: impl Fn(&NightEvent) -> bool,
    ) -> Result<SliceOutcome> {
        let clock = self.work.clock.clone();
        let mut device = SimulatedDevice { night_began: clock.now(), clock, state_at };
        let grant = GrantedTime { time: Some(Duration::from_secs(seconds)), last: true };
        let stop = StopFlag::new();
        let events = &mut self.events;
        events.clear();
        run(&mut self.work, &mut device, &self.rules, grant, &stop, &mut |event| {
            events.push(event.clone());
            if stops(event) {
                stop.raise();
            }
        })
    }

    /// A night that nobody stops, on a device that can be asked.
    pub(super) fn whole_night(
        &mut self,
        seconds: u64,
        state_at: impl Fn(u64) -> DeviceState + Send,
    ) -> SliceOutcome {
        self.night(seconds, move |now| Ok(state_at(now)), |_| false).unwrap()
    }

    /// What was told, but for the looks at the device: when, and what.
    pub(super) fn told(&self) -> Vec<String> {
        self.events.iter().filter_map(|event| Some(format!("{} {}", event.at(), in_words(event)?))).collect()
    }

    /// What was told but for the looks and the steps.
    pub(super) fn told_besides_steps(&self) -> Vec<String> {
        self.told().into_iter().filter(|told| !told.contains(" step ")).collect()
    }

    pub(super) fn looks(&self) -> Vec<f64> {
        self.events.iter().filter(|event| in_words(event).is_none()).map(NightEvent::at).collect()
    }
}

fn in_words(event: &NightEvent) -> Option<String> {
    let name = |reason: &Reason| format!("{reason:?}").split(' ').next().map(str::to_owned);
    match event {
        NightEvent::State { .. } => None,
        NightEvent::Running { duty, reason, .. } => Some(format!("runs {duty} {}", name(reason)?)),
        NightEvent::Waiting { reason, .. } => Some(format!("waits {}", name(reason)?)),
        NightEvent::Step { step, .. } => Some(format!("step {step}")),
        NightEvent::SliceEnded { outcome, .. } => Some(format!("slice {outcome:?}")),
        NightEvent::Estimate { text, .. } => Some(text.clone()),
        NightEvent::NothingToDo { reason, .. } => Some(format!("{reason:?}")),
        NightEvent::Done { outcome, .. } => Some(format!("done {outcome:?}")),
        other => Some(format!("{other:?}")),
    }
}
