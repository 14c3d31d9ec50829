//! Sessions and their store, from several threads at once, and released while they work.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use nightgraft_ffi::{
    NightRules, NightgraftError, NothingToDoReason, PauseReason, PersonalizationSession, Phase, Planner,
    SessionSettings, SliceOutcome,
};
use pollster::block_on;

use crate::sandbox::{ProgressLatch, Sandbox, line, unplugged};

#[test]
fn a_store_can_be_used_while_a_slice_runs() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(session.run_slice(None, Some(latch.clone()))).unwrap());
        latch.wait_for_step(3);
        assert_eq!(block_on(store.add(vec![line(40)])).unwrap(), [41]);
        assert_eq!(block_on(store.examples()).unwrap().len(), 41);
        latch.wait_for_step(session.progress().step + 3);
        session.stop();
        assert_eq!(running.join().unwrap(), SliceOutcome::Paused { reason: PauseReason::Stopped });
    });
}

#[test]
fn a_screen_hears_of_new_examples_and_of_a_new_graft_until_the_store_is_closed() {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    let changes = store.changes();
    assert!(block_on(changes.next()), "there is something to show");
    block_on(store.add((0..40).map(line).collect())).unwrap();
    assert!(block_on(changes.next()));
    let session = sandbox.session(&store, 1);
    thread::scope(|scope| {
        let heard = scope.spawn(|| block_on(changes.next()));
        assert!(matches!(block_on(session.run_slice(None, None)), Ok(SliceOutcome::Finished { .. })));
        assert!(heard.join().unwrap());
        assert_eq!(block_on(store.grafts()).unwrap().len(), 1);
        let heard = scope.spawn(|| block_on(changes.next()));
        block_on(store.release()).unwrap();
        assert!(!heard.join().unwrap());
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
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(session.run_slice(None, Some(latch.clone()))));
        latch.wait_for_step(3);
        block_on(store.release()).unwrap();
        let error = running.join().unwrap().unwrap_err();
        assert!(matches!(error, NightgraftError::Cancelled { .. }), "{error}");
    });
    assert!(matches!(block_on(store.examples()), Err(NightgraftError::Cancelled { .. })));

    let store = sandbox.store();
    let again = sandbox.session(&store, 2000);
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(again.run_slice(None, Some(latch.clone()))));
        latch.wait_for_step(session.progress().step + 1);
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
        let latch = Arc::new(ProgressLatch::default());
        let mut call = Box::pin(session.run_slice(None, Some(latch.clone())));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        latch.wait_for_step(2);
    }
    // It would take the store again and again; the next call has its turn only because that one has ended.
    let outcome = block_on(session.run_slice(Some(0.0), None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline });
    assert!(session.progress().step >= 2);
}

#[test]
fn a_slice_that_waits_for_its_turn_can_be_stopped() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let (store, other_store) = (sandbox.store_with_examples(), other.store_with_examples());
    let (session, waiting) = (sandbox.session(&store, 100_000), other.session(&other_store, 2000));
    thread::scope(|scope| {
        let latch = Arc::new(ProgressLatch::default());
        let told = latch.clone();
        let first = scope.spawn(|| block_on(session.run_slice(None, Some(told))).unwrap());
        latch.wait_for_step(1);
        let mut second = Box::pin(waiting.run_slice(None, None));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it waits");
        waiting.stop();
        let stopped = SliceOutcome::Paused { reason: PauseReason::Stopped };
        assert_eq!(block_on(second).unwrap(), stopped);
        assert!(!first.is_finished());
        session.stop();
        assert_eq!(first.join().unwrap(), stopped);
    });
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
