//! Handles used as apps use them: from several threads, dropped while they work, a thousand times over.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nightgraft_ffi::{
    AdapterStore, BaseModel, DeviceState, Example, Generator, ListenerError, Message, NightRules,
    NightgraftError, NothingToDoReason, PauseReason, PersonalizationSession, Phase, Planner, Platform,
    PlatformError, Progress, ProgressListener, SessionSettings, SliceOutcome, StoreSettings, TextListener,
    Thermal, WaitKind,
};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};
use pollster::block_on;

/// A folder with a tiny model and, once it is asked for, a store.
struct Sandbox {
    folder: tempfile::TempDir,
    model: Arc<BaseModel>,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&path).unwrap();
        let model = block_on(BaseModel::open(path.display().to_string())).unwrap();
        Self { folder, model }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn store(&self) -> Arc<AdapterStore> {
        let settings = StoreSettings { seed: Some(3), ..StoreSettings::default() };
        block_on(AdapterStore::open(self.path().display().to_string(), settings)).unwrap()
    }

    fn store_with_examples(&self) -> Arc<AdapterStore> {
        let store = self.store();
        block_on(store.add((0..40).map(line).collect())).unwrap();
        store
    }

    /// Long enough to be interrupted.
    fn session(&self, store: &Arc<AdapterStore>, epochs: u32) -> Arc<PersonalizationSession> {
        let settings = SessionSettings {
            context: 64,
            batch_tokens: Some(64),
            epochs,
            threads: Some(2),
            ..SessionSettings::default()
        };
        block_on(PersonalizationSession::open(self.model.clone(), store.clone(), settings)).unwrap()
    }
}

fn line(i: usize) -> Example {
    Example::Text { text: format!("a made-up line, number {i}: boats, {} of them", i * 7) }
}

fn wait_for(session: &PersonalizationSession, step: u64) {
    let began = Instant::now();
    while session.progress().step < step {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", session.progress());
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_store_can_be_used_while_a_slice_runs() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(session.run_slice(None, None)).unwrap());
        wait_for(&session, 3);
        assert_eq!(block_on(store.add(vec![line(40)])).unwrap(), [41]);
        assert_eq!(block_on(store.examples()).unwrap().len(), 41);
        let step = session.progress().step;
        wait_for(&session, step + 3);
        session.stop();
        assert_eq!(running.join().unwrap(), SliceOutcome::Paused { reason: PauseReason::Stopped });
    });
}

#[test]
fn two_threads_share_one_session() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2);
    let outcomes = thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| block_on(session.run_slice(None, None)).unwrap()));
        both.map(|thread| thread.join().unwrap())
    });
    // The first finishes the session; the second finds that it was.
    let finished = outcomes.iter().filter(|o| matches!(o, SliceOutcome::Finished { .. })).count();
    let nothing =
        outcomes.iter().filter(|outcome| matches!(outcome, SliceOutcome::NothingToDo { .. })).count();
    assert_eq!((finished, nothing), (1, 1), "{outcomes:?}");
    assert_eq!(block_on(store.grafts()).unwrap().len(), 1);
}

#[test]
fn too_few_examples_are_told_in_numbers_before_anything_is_trained() {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    block_on(store.add((0..9).map(line).collect())).unwrap();
    let session = sandbox.session(&store, 2);
    let SliceOutcome::NothingToDo { reason, text } = block_on(session.run_slice(None, None)).unwrap() else {
        panic!("it trained")
    };
    assert_eq!(reason, NothingToDoReason::TooFew { have: 9, need: 16 });
    assert!(text.contains("9 of the 16"), "{text}");
    let progress = session.progress();
    assert_eq!((progress.phase, progress.nothing_to_do), (Phase::NothingToDo, Some(reason)));
    // A night says so without waiting for a charger.
    let night = session.run_night(unplugged(), NightRules::default(), None, true, None);
    assert!(matches!(block_on(night).unwrap(), SliceOutcome::NothingToDo { .. }));
    assert_eq!(block_on(store.grafts()).unwrap(), []);
}

#[test]
fn releasing_ends_what_runs() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(session.run_slice(None, None)));
        wait_for(&session, 3);
        block_on(store.release()).unwrap();
        let error = running.join().unwrap().unwrap_err();
        assert!(matches!(error, NightgraftError::Cancelled { .. }), "{error}");
    });
    assert!(matches!(block_on(store.examples()), Err(NightgraftError::Cancelled { .. })));

    let store = sandbox.store();
    let again = sandbox.session(&store, 2000);
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(again.run_slice(None, None)));
        wait_for(&again, session.progress().step + 1);
        block_on(again.release()).unwrap();
        assert_eq!(running.join().unwrap().unwrap(), SliceOutcome::Paused { reason: PauseReason::Stopped });
    });
    assert!(matches!(block_on(again.run_slice(None, None)), Err(NightgraftError::Cancelled { .. })));
}

#[test]
fn a_call_that_nobody_waits_for_stops() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    {
        let mut call = Box::pin(session.run_slice(None, None));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        wait_for(&session, 2);
    }
    // It would take the store again and again; the next call has its turn only because that one has ended.
    let outcome = block_on(session.run_slice(Some(0.0), None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline });
    assert!(session.progress().step >= 2);
}

struct ThrowingListener(AtomicU64);

impl ProgressListener for ThrowingListener {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        if progress.phase != Phase::Training {
            return Ok(());
        }
        Err(ListenerError::Failed { reason: "made to".into() })
    }
}

impl TextListener for ThrowingListener {
    fn on_text(&self, _: String) -> Result<(), ListenerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(ListenerError::Failed { reason: "made to".into() })
    }
}

#[test]
fn a_listener_that_throws_ends_the_work() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    let thrower = Arc::new(ThrowingListener(AtomicU64::new(0)));
    let error = block_on(session.run_slice(None, Some(thrower.clone()))).unwrap_err();
    assert_eq!(error, NightgraftError::Cancelled { reason: "the listener failed: made to".into() });
    let outcome = block_on(session.run_slice(Some(0.0), None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline }, "it goes on");

    let generator = block_on(Generator::open(sandbox.model.clone(), Some(1))).unwrap();
    let thrower = Arc::new(ThrowingListener(AtomicU64::new(0)));
    let turn = Message { role: "user".into(), content: "hello".into() };
    let error = block_on(generator.chat(vec![turn], Default::default(), Some(thrower.clone()))).unwrap_err();
    assert!(matches!(error, NightgraftError::Cancelled { .. }), "{error}");
    assert_eq!(thrower.0.load(Ordering::SeqCst), 1);
}

/// Cuts the model short when it is told something.
struct ModelTruncator(PathBuf);

impl ModelTruncator {
    fn cut(&self) {
        fs::OpenOptions::new().write(true).open(&self.0).unwrap().set_len(5000).unwrap();
    }
}

impl ProgressListener for ModelTruncator {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        if progress.step > 2 {
            self.cut();
        }
        Ok(())
    }
}

impl TextListener for ModelTruncator {
    fn on_text(&self, _: String) -> Result<(), ListenerError> {
        self.cut();
        Ok(())
    }
}

#[test]
fn a_model_that_is_cut_short_is_an_error_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let model = sandbox.folder.path().join("tiny.gguf");
    let whole = fs::read(&model).unwrap();
    let is_named = |error: NightgraftError| match error {
        NightgraftError::ModelChanged { reason } => assert!(reason.contains("tiny.gguf"), "{reason}"),
        other => panic!("{other}"),
    };
    let truncator = Arc::new(ModelTruncator(model.clone()));

    let generator = block_on(Generator::open(sandbox.model.clone(), Some(1))).unwrap();
    let turns = || vec![Message { role: "user".into(), content: "hello".into() }];
    is_named(block_on(generator.chat(turns(), Default::default(), Some(truncator.clone()))).unwrap_err());
    is_named(block_on(generator.chat(turns(), Default::default(), None)).unwrap_err());
    fs::write(&model, &whole).unwrap();

    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    is_named(block_on(session.run_slice(None, Some(truncator))).unwrap_err());
    let step = session.progress().step;
    fs::write(&model, &whole).unwrap();
    let again = sandbox.session(&store, 2000);
    let outcome = block_on(again.run_slice(Some(0.0), None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline });
    assert!(again.progress().step >= step && step > 2, "{} after {step}", again.progress().step);
}

/// A device whose state a test sets.
struct FakePlatform(Mutex<Result<DeviceState, PlatformError>>);

impl FakePlatform {
    fn ready() -> DeviceState {
        DeviceState {
            charging: true,
            battery: 1.0,
            thermal: Thermal::Nominal,
            temperature: Some(25.0),
            low_power_mode: false,
            idle: true,
            memory_available: 8 << 30,
            storage_free: 64 << 30,
            unix_seconds: 1_790_000_000,
            utc_offset_seconds: 3600,
        }
    }
}

impl Platform for FakePlatform {
    fn state(&self) -> Result<DeviceState, PlatformError> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn a_night_waits_for_the_device_and_ends_with_it() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 20_000);
    let unplugged = DeviceState { charging: false, ..FakePlatform::ready() };
    let platform = Arc::new(FakePlatform(Mutex::new(Ok(unplugged))));
    let rules = NightRules { idle_grace_seconds: 0, ..NightRules::default() };
    thread::scope(|scope| {
        let night =
            scope.spawn(|| block_on(session.run_night(platform.clone(), rules.clone(), None, true, None)));
        let began = Instant::now();
        while session.progress().phase != Phase::Waiting {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", session.progress());
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(session.progress().waiting.unwrap().kind, WaitKind::NotCharging);
        *platform.0.lock().unwrap() = Ok(FakePlatform::ready());
        session.device_changed();
        wait_for(&session, 3);
        let progress = session.progress();
        assert_eq!(progress.phase, Phase::Training);
        assert!(progress.seconds_left.unwrap() > 0.0 && progress.memory_bytes > 1 << 20, "{progress:?}");
        *platform.0.lock().unwrap() = Err(PlatformError::Failed { reason: "the sensor is gone".into() });
        let error = night.join().unwrap().unwrap_err();
        let reason = "the platform failed: the sensor is gone".to_owned();
        assert_eq!(error, NightgraftError::Cancelled { reason });
    });
    *platform.0.lock().unwrap() = Ok(unplugged);
    let outcome = block_on(session.run_night(platform, rules, Some(0.1), true, None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline });
}

#[test]
fn plans_name_the_smallest_that_fits() {
    let sandbox = Sandbox::new();
    let planner = Planner::new(sandbox.model.clone());
    let settings = SessionSettings { context: 64, ..SessionSettings::default() };
    let plan = block_on(planner.memory(settings.clone())).unwrap();
    assert!(plan.fits && !plan.slower && plan.batch_tokens == 512 && plan.smallest < plan.needed, "{plan:?}");
    let tight = SessionSettings { memory_limit: Some(plan.smallest), ..settings.clone() };
    let tight = block_on(planner.memory(tight)).unwrap();
    assert!(tight.fits && tight.needed == plan.smallest && tight.batch_tokens < 512, "{tight:?}");
    let impossible = SessionSettings { memory_limit: Some(plan.smallest - 1), ..settings.clone() };
    let refused = block_on(planner.memory(impossible.clone())).unwrap();
    assert!(!refused.fits && refused.smallest == plan.smallest, "{refused:?}");

    let store = sandbox.store_with_examples();
    let time = block_on(planner.time(store.clone(), settings)).unwrap();
    assert!(time.examples > 30 && time.tokens > 1000 && time.tokens_per_second > 0.0, "{time:?}");
    let session = block_on(PersonalizationSession::open(sandbox.model.clone(), store, impossible)).unwrap();
    let error = block_on(session.run_slice(None, None)).unwrap_err();
    assert!(matches!(error, NightgraftError::OutOfMemoryBudget { .. }), "{error}");
}

/// Does something at every state that it is told.
struct CallbackListener<F>(F);

impl<F: Fn(Progress) + Send + Sync> ProgressListener for CallbackListener<F> {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        (self.0)(progress);
        Ok(())
    }
}

#[test]
fn a_listener_may_close_its_session_and_its_store() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    let (closing, closed) =
        (Mutex::new(Some((session.clone(), store.clone()))), Arc::new(AtomicBool::new(false)));
    let done = closed.clone();
    let listener = CallbackListener(move |progress: Progress| {
        if progress.phase == Phase::Training
            && let Some((session, store)) = closing.lock().unwrap().take()
        {
            block_on(session.release()).unwrap();
            block_on(store.release()).unwrap();
            done.store(true, Ordering::SeqCst);
        }
    });
    let outcome = block_on(session.run_slice(None, Some(Arc::new(listener)))).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Stopped });
    assert!(closed.load(Ordering::SeqCst));
    // All is free again.
    drop(sandbox.store());
}

#[test]
fn a_listener_that_keeps_asking_the_store_does_not_stop_the_training() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 30);
    let asked = store.clone();
    let listener = CallbackListener(move |_| {
        block_on(asked.examples()).unwrap();
    });
    let outcome = block_on(session.run_slice(None, Some(Arc::new(listener)))).unwrap();
    assert!(matches!(outcome, SliceOutcome::Finished { .. }), "{outcome:?}");
    assert!(session.report().is_some());
}

#[test]
fn a_slice_that_waits_for_its_turn_can_be_stopped() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let (store, other_store) = (sandbox.store_with_examples(), other.store_with_examples());
    let (session, waiting) = (sandbox.session(&store, 100_000), other.session(&other_store, 2000));
    thread::scope(|scope| {
        let first = scope.spawn(|| block_on(session.run_slice(None, None)).unwrap());
        wait_for(&session, 1);
        let second = scope.spawn(|| block_on(waiting.run_slice(None, None)).unwrap());
        thread::sleep(Duration::from_millis(100));
        waiting.stop();
        let stopped = SliceOutcome::Paused { reason: PauseReason::Stopped };
        assert_eq!(second.join().unwrap(), stopped);
        assert!(!first.is_finished());
        session.stop();
        assert_eq!(first.join().unwrap(), stopped);
    });
}

/// Stops its session at the first step.
struct StopAtFirstStep(Mutex<Option<Arc<PersonalizationSession>>>);

impl ProgressListener for StopAtFirstStep {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        if progress.phase == Phase::Training
            && let Some(session) = self.0.lock().unwrap().take()
        {
            session.stop();
        }
        Ok(())
    }
}

/// Kilobytes that the process holds, threads and open files, when the threads of a session have ended.
fn resources_in_use() -> (u64, usize, usize) {
    thread::sleep(Duration::from_millis(300));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (value("VmRSS:"), value("Threads:") as usize, fs::read_dir("/proc/self/fd").unwrap().count())
}

/// In a process of its own, so that no other test moves the figures.
#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    const ALONE: &str = "NIGHTGRAFT_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "a_thousand_cycles_leave_nothing_behind", "--nocapture"]).env(ALONE, "1");
        // One arena, and all that is free given back: else what the C library keeps for itself is chance.
        let fixed =
            [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "0"), ("MALLOC_MMAP_THRESHOLD_", "16384")];
        alone.envs(fixed);
        assert!(alone.status().unwrap().success());
        return;
    }
    let sandbox = Sandbox::new();
    drop(sandbox.store_with_examples());
    let cycle = || {
        let store = sandbox.store();
        // Everything again each time, also the checkpoint.
        let session = sandbox.session(&store, 2000);
        let one = Arc::new(StopAtFirstStep(Mutex::new(Some(session.clone()))));
        let outcome = block_on(session.run_slice(None, Some(one))).unwrap();
        assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Stopped });
        assert!(session.progress().step > 0);
    };
    // One reading differs from the next by some percent: the lowest of ten counts.
    let lowest = || {
        let reading = |_| {
            (0..20).for_each(|_| cycle());
            resources_in_use()
        };
        (0..10).map(reading).min().unwrap()
    };
    (0..200).for_each(|_| cycle());
    let mut readings = vec![lowest()];
    // Code that runs for the first time takes memory once; what leaks is there after every thousand.
    for _ in 0..3 {
        (0..800).for_each(|_| cycle());
        readings.push(lowest());
        let [.., (before, threads, files), (after, threads_after, files_after)] = readings[..] else {
            unreachable!()
        };
        assert_eq!((threads, files), (threads_after, files_after));
        if after * 100 < before * 101 {
            println!("kB, threads, files before and after each thousand: {readings:?}");
            return;
        }
    }
    panic!("every thousand cycles take more: {readings:?}");
}

/// In a process of its own, as what the variable holds is read once.
#[test]
fn instructions_that_do_not_exist_are_an_error_of_opening_a_model() {
    const NAME: &str = "instructions_that_do_not_exist_are_an_error_of_opening_a_model";
    const WRONG: (&str, &str) = ("NIGHTGRAFT_ISA", "avx-512");
    if std::env::var(WRONG.0).is_ok_and(|value| value == WRONG.1) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel::new(WeightType::Q4_1).write(&path).unwrap();
        match block_on(BaseModel::open(path.display().to_string())).err() {
            Some(NightgraftError::Unsupported { reason }) => {
                assert!(reason.starts_with("NIGHTGRAFT_ISA: \"avx-512\" names no instructions"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.env(WRONG.0, WRONG.1).args(["--exact", NAME]).output().unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

/// A phone that lies on a table all night.
fn unplugged() -> Arc<FakePlatform> {
    Arc::new(FakePlatform(Mutex::new(Ok(DeviceState { charging: false, ..FakePlatform::ready() }))))
}

/// How often the threads of this process have gone to sleep since they began.
fn times_gone_to_sleep() -> u64 {
    let of_thread = |thread: std::io::Result<fs::DirEntry>| -> u64 {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    fs::read_dir("/proc/self/task").unwrap().map(of_thread).sum()
}

/// In a process of its own, which has no other threads.
#[test]
fn a_night_that_waits_does_not_wake_up() {
    const ALONE: &str = "NIGHTGRAFT_TEST_WAITS_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "a_night_that_waits_does_not_wake_up", "--nocapture"]).env(ALONE, "1");
        assert!(alone.status().unwrap().success());
        return;
    }
    const SECONDS: u64 = 5;
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2);
    let heard = Arc::new(PhaseRecorder::default());
    thread::scope(|scope| {
        let night = session.run_night(unplugged(), NightRules::default(), None, true, Some(heard.clone()));
        let running = scope.spawn(move || block_on(night));
        let began = Instant::now();
        while !heard.0.lock().unwrap().contains(&Phase::Waiting) {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not wait");
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(500)); // the last state is told
        let before = times_gone_to_sleep();
        thread::sleep(Duration::from_secs(SECONDS));
        let woken = times_gone_to_sleep() - before; // this thread once
        assert!(woken < SECONDS, "woken {woken} times in {SECONDS} s");
        session.stop();
        let outcome = running.join().unwrap().unwrap();
        assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Stopped });
    });
}

/// Which phases were told.
#[derive(Default)]
struct PhaseRecorder(Mutex<Vec<Phase>>);

impl ProgressListener for PhaseRecorder {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        self.0.lock().unwrap().push(progress.phase);
        Ok(())
    }
}
