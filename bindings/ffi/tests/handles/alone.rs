//! What only a process of its own shows: what it holds, how often it wakes, and what it reads once.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use nightgraft_ffi::{
    BaseModel, ListenerError, NightRules, NightgraftError, PauseReason, PersonalizationSession, Phase,
    Progress, ProgressListener, SliceOutcome,
};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::TinyModel;
use pollster::block_on;

use crate::sandbox::{ProgressLatch, Sandbox, unplugged};

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
        alone
            .args(["--exact", "alone::a_thousand_cycles_leave_nothing_behind", "--nocapture"])
            .env(ALONE, "1");
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
    const NAME: &str = "alone::instructions_that_do_not_exist_are_an_error_of_opening_a_model";
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
        alone.args(["--exact", "alone::a_night_that_waits_does_not_wake_up", "--nocapture"]).env(ALONE, "1");
        assert!(alone.status().unwrap().success());
        return;
    }
    const SECONDS: u64 = 5;
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2);
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let night = session.run_night(unplugged(), NightRules::default(), None, true, Some(latch.clone()));
        let running = scope.spawn(move || block_on(night));
        latch.wait_until(|progress| progress.phase == Phase::Waiting);
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
