//! Sessions on a tiny model: rounds, calls and nights, on a simulated device with a clock of its own.

#![allow(clippy::unwrap_used)]

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nightgraft_core::session::Event;
use nightgraft_kernels::WeightType;
use nightgraft_policy::{self as policy, LocalTime, Thermal};
use nightgraft_tiny_model::{CHATML, TinyModel};
use pollster::block_on;
use tempfile::TempDir;

use super::*;
use crate::error::ListenerError;
use crate::progress::WaitKind;
use crate::settings::StoreSettings;

const EXAMPLES: usize = 40;

/// A session of more steps than any test waits for.
struct Sandbox {
    _folder: TempDir,
    store: Arc<AdapterStore>,
    session: Arc<PersonalizationSession>,
}

impl Sandbox {
    fn new() -> Self {
        Self::of_steps(1_000_000)
    }

    fn of_steps(steps: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&path).unwrap();
        let model = block_on(BaseModel::open(path.display().to_string())).unwrap();
        let place = folder.path().join("store").display().to_string();
        let store = block_on(AdapterStore::open(place, StoreSettings::default())).unwrap();
        let line =
            |i| Example::Text { text: format!("a made-up line, number {i}: boats, {} of them", i * 7) };
        block_on(store.add((0..EXAMPLES).map(line).collect())).unwrap();
        let settings = SessionSettings {
            context: 64,
            batch_tokens: Some(64),
            steps: Some(steps),
            threads: Some(1),
            ..SessionSettings::default()
        };
        let session = block_on(PersonalizationSession::open(model, store.clone(), settings)).unwrap();
        Self { _folder: folder, store, session }
    }

    fn inner(&self) -> &Inner {
        &self.session.inner
    }

    /// Asks for the store from another thread, and returns once the round with this flag is to yield it.
    fn ask_for_store(&self, flag: &StopFlag) -> JoinHandle<Result<usize>> {
        let (sender, raised) = mpsc::channel();
        let _waking = flag.when_raised(move || {
            let _ = sender.send(()); // whoever waited may have heard it before
        });
        let shared = self.inner().shared.clone();
        let asking = thread::spawn(move || shared.with(|store| Ok(store.examples().len())));
        raised.recv().unwrap();
        asking
    }
}

fn call(listener: Option<Arc<dyn ProgressListener>>) -> Call {
    Call { stop: StopFlag::new(), dispatcher: ProgressDispatcher::start(listener, || ()).unwrap() }
}

fn paused(reason: PauseReason) -> SliceOutcome {
    SliceOutcome::Paused { reason }
}

#[test]
fn a_slice_that_yields_the_store_opens_its_session_again_and_goes_on() {
    let sandbox = Sandbox::new();
    let (mut steps, mut asking) = (Vec::new(), None);
    let outcome = sandbox.inner().run_rounds(&call(None), |session, flag| {
        steps.push(session.steps());
        let reason = match asking {
            None => {
                asking = Some(sandbox.ask_for_store(flag));
                PauseReason::Stopped
            }
            Some(_) => PauseReason::Deadline,
        };
        Ok(paused(reason))
    });
    assert_eq!((outcome, steps), (Ok(paused(PauseReason::Deadline)), vec![Some(0); 2]));
    assert_eq!(asking.unwrap().join().unwrap(), Ok(EXAMPLES));
}

#[test]
fn a_slice_that_ends_by_itself_while_somebody_wants_the_store_has_ended() {
    let sandbox = Sandbox::new();
    let mut asking = Vec::new();
    let outcome = sandbox.inner().run_rounds(&call(None), |_, flag| {
        asking.push(sandbox.ask_for_store(flag));
        Ok(paused(PauseReason::Deadline))
    });
    assert_eq!((outcome, asking.len()), (Ok(paused(PauseReason::Deadline)), 1));
    assert_eq!(asking.remove(0).join().unwrap(), Ok(EXAMPLES));
}

/// Everything that a screen may show of a store.
async fn read_all(store: &AdapterStore) -> Result<()> {
    store.current().await?;
    store.examples().await?;
    store.grafts().await?;
    store.bytes_used().await?;
    store.verify().await.map(drop)
}

/// What a whole slice came to: its rounds, and the steps after which it was saved. After each step `reads` are made, by another
/// thread, and the slice goes on when they are over or it has to yield the store.
fn slice_beside(reads: impl Fn(&AdapterStore) -> Result<()> + Sync) -> (usize, Vec<u64>) {
    let sandbox = Sandbox::of_steps(50);
    let (mut rounds, mut saved) = (0, Vec::new());
    let outcome = thread::scope(|scope| {
        let (ask, asked) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let (reads, store) = (&reads, &sandbox.store);
        scope.spawn(move || asked.into_iter().try_for_each(|()| answer.send(reads(store))));
        sandbox.inner().run_rounds(&call(None), |session, stop| {
            rounds += 1;
            let vault = session.store().vault().clone();
            let outcome = session.run_slice(Slice::default(), stop, &mut |event| match event {
                Event::Step(_) => {
                    let written = vault.bytes_written();
                    ask.send(()).unwrap();
                    let mut read = answered.try_recv();
                    while read.is_err() && !stop.is_raised() {
                        thread::yield_now();
                        read = answered.try_recv();
                    }
                    assert_eq!((read, vault.bytes_written()), (Ok(Ok(())), written));
                }
                Event::Saved { step } => saved.push(*step),
                _ => {}
            })?;
            Ok(outcome.into())
        })
    });
    assert!(matches!(outcome, Ok(SliceOutcome::Finished { .. })), "{outcome:?}");
    (rounds, saved)
}

#[test]
fn reading_the_store_interrupts_no_slice_and_writes_nothing() {
    let alone = slice_beside(|_| Ok(()));
    assert_eq!(alone, (1, vec![20, 40, 50]));
    assert_eq!(slice_beside(|store| block_on(read_all(store))), alone);
}

#[test]
fn a_stop_ends_all_rounds() {
    let sandbox = Sandbox::new();
    let (call, mut rounds) = (call(None), 0);
    let outcome = sandbox.inner().run_rounds(&call, |_, flag| {
        rounds += 1;
        call.stop.raise();
        sandbox.inner().shared.interrupt();
        assert!(flag.is_raised());
        Ok(paused(PauseReason::Stopped))
    });
    assert_eq!((outcome, rounds), (Ok(paused(PauseReason::Stopped)), 1));
    // A call that was stopped before its turn does no work.
    let outcome = sandbox.inner().run_rounds(&call, |_, _| unreachable!());
    assert_eq!(outcome, Ok(paused(PauseReason::Stopped)));
}

#[test]
fn a_slice_of_no_time_knows_the_work_and_leaves_it() {
    let sandbox = Sandbox::new();
    let outcome = block_on(sandbox.session.run_slice(Some(0.0), None));
    assert_eq!(outcome, Ok(paused(PauseReason::Deadline)));
    let progress = sandbox.session.progress();
    assert_eq!((progress.phase, progress.step, progress.total_steps), (Phase::Paused, 0, 1_000_000));
    let calls = lock(&sandbox.inner().calls);
    assert_eq!((calls.stop_handles.len(), calls.running), (0, 0));
}

#[test]
fn nonsense_is_no_time_and_more_than_a_clock_can_show_is_no_deadline() {
    let now = Instant::now();
    let length = |seconds| deadline(now, seconds).map(|deadline| deadline.duration_since(now).as_millis());
    assert_eq!(length(None), None);
    assert_eq!(length(Some(1.5)), Some(1500));
    assert_eq!([0.0, -3.0, f64::NEG_INFINITY, f64::NAN].map(Some).map(length), [Some(0); 4]);
    assert_eq!([1e30, f64::INFINITY].map(Some).map(length), [None; 2]);
}

/// A device whose state is a function of its time, in seconds. Time passes while a night waits, and at no other moment.
struct SimulatedDevice<S, W> {
    time: Duration,
    state_at: S,
    /// Called with each wait.
    on_wait: W,
}

impl<S, W> night::Platform for SimulatedDevice<S, W>
where
    S: FnMut(u64) -> policy::DeviceState,
    W: FnMut(Duration, &StopFlag),
{
    fn state(&mut self) -> nightgraft_core::Result<policy::DeviceState> {
        let now = self.time.as_secs();
        let time = LocalTime { unix: 1_790_000_000 + now as i64, utc_offset: 0 };
        Ok(policy::DeviceState { time, ..(self.state_at)(now) })
    }

    fn elapsed(&self) -> Duration {
        self.time
    }

    fn wait(&mut self, at_most: Duration, stop: &StopFlag) {
        (self.on_wait)(at_most, stop);
        self.time += at_most;
    }

    /// So fast that it is looked at every 30 milliseconds.
    fn real_time(&self, device: Duration) -> Duration {
        device / 1000
    }
}

/// A phone on its charger.
fn ready() -> policy::DeviceState {
    policy::DeviceState {
        charging: true,
        battery: 1.0,
        thermal: Thermal::Nominal,
        temperature: Some(25.0),
        low_power_mode: false,
        idle: true,
        memory_available: 8 << 30,
        storage_free: 64 << 30,
        time: LocalTime { unix: 0, utc_offset: 0 },
    }
}

/// Which phases were told of, each once.
#[derive(Default)]
struct PhaseRecorder(Mutex<Vec<Phase>>);

impl ProgressListener for PhaseRecorder {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        let mut phases = lock(&self.0);
        phases.push(progress.phase);
        phases.dedup();
        Ok(())
    }
}

#[test]
fn a_night_waits_works_cools_down_and_works_again() {
    let sandbox = Sandbox::new();
    let recorder = Arc::new(PhaseRecorder::default());
    let call = call(Some(recorder.clone()));
    let (mut waits, mut step_before_heat) = (Vec::new(), 0);
    let mut device = SimulatedDevice {
        time: Duration::ZERO,
        // Unplugged for two minutes; too warm after two steps, until the fifth minute is over; stopped two steps later.
        state_at: |now: u64| match (now, sandbox.session.progress().step) {
            (..120, _) => policy::DeviceState { charging: false, ..ready() },
            (120..300, step @ 2..) => {
                step_before_heat = step;
                policy::DeviceState { temperature: Some(45.0), ..ready() }
            }
            (300.., step) if step >= step_before_heat + 2 => {
                call.stop.raise();
                sandbox.inner().shared.interrupt();
                ready()
            }
            _ => ready(),
        },
        on_wait: |time: Duration, _: &StopFlag| {
            let waiting = sandbox.session.progress().waiting;
            waits.push((waiting.map(|waiting| waiting.kind), time.as_secs()));
        },
    };
    let grant = GrantedTime { time: None, last: true };
    let rules = Rules { idle_grace_seconds: 0, ..Rules::default() };
    let outcome = sandbox.inner().night(&call, &mut device, &rules, grant);
    assert_eq!(outcome, Ok(paused(PauseReason::Stopped)));
    assert_eq!(device.time, Duration::from_secs(420), "five minutes after it was too warm");
    let reasons = [(WaitKind::NotCharging, 2), (WaitKind::TooWarm, 3), (WaitKind::CoolingDown, 2)];
    let expected = reasons.into_iter().flat_map(|(kind, minutes)| vec![(Some(kind), 60); minutes]);
    assert_eq!(waits, expected.collect::<Vec<_>>());
    call.dispatcher.finish().unwrap();
    let phases = [Phase::Preparing, Phase::Waiting, Phase::Training, Phase::Waiting, Phase::Training];
    assert_eq!(*lock(&recorder.0), phases);
    assert!(sandbox.session.progress().step >= step_before_heat + 2);
}

#[test]
fn a_night_that_yields_the_store_goes_on_with_what_is_left_of_its_grant() {
    let sandbox = Sandbox::new();
    let (mut waits, mut asking) = (Vec::new(), None);
    let mut device = SimulatedDevice {
        time: Duration::from_secs(3600),
        state_at: |_: u64| policy::DeviceState { charging: false, ..ready() },
        on_wait: |time: Duration, stop: &StopFlag| {
            waits.push(time.as_secs());
            if waits.len() == 3 {
                asking = Some(sandbox.ask_for_store(stop));
            }
        },
    };
    let grant = GrantedTime { time: Some(Duration::from_secs(630)), last: true };
    let outcome = sandbox.inner().night(&call(None), &mut device, &Rules::default(), grant);
    assert_eq!(outcome, Ok(paused(PauseReason::Deadline)));
    assert_eq!(waits, [60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 30]);
    assert_eq!(asking.unwrap().join().unwrap(), Ok(EXAMPLES));
}
