//! Who has the store when: the rounds of a slice, and calls that want it meanwhile.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use nightgraft_store::GraftId;
use pollster::block_on;
use tempfile::TempDir;

use super::*;

fn shared() -> (TempDir, Arc<SharedStore>) {
    shared_with(StoreSettings::default())
}

fn shared_with(settings: StoreSettings) -> (TempDir, Arc<SharedStore>) {
    let folder = tempfile::tempdir().unwrap();
    let shared = SharedStore::open(folder.path().join("store"), settings).unwrap();
    (folder, Arc::new(shared))
}

fn lines(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{{\"text\": \"a made-up line, number {i}\"}}")).collect()
}

/// Work that lasts until its round is ended.
fn until_ended(has_begun: impl FnOnce()) -> impl FnOnce(Store, &StopFlag) -> (Option<Store>, Result<()>) {
    move |store, flag| {
        let (sender, ended) = mpsc::channel();
        let _waking = flag.when_raised(move || {
            let _ = sender.send(()); // whoever waited may have heard it before
        });
        has_begun();
        ended.recv().unwrap();
        (Some(store), Ok(()))
    }
}

#[test]
fn whoever_wants_the_store_ends_a_round_and_has_it_before_the_next() {
    let (_folder, shared) = shared();
    let order = Mutex::new(Vec::new());
    let (sender, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        let slice = scope.spawn(|| {
            let first = shared.round(false, || false, until_ended(|| sender.send(()).unwrap())).unwrap();
            let second = shared.round(
                true,
                || false,
                |store, _| {
                    lock(&order).push("second round");
                    (Some(store), Ok(()))
                },
            );
            (matches!(first, RoundOutcome::Yielded(())), matches!(second.unwrap(), RoundOutcome::Done(())))
        });
        has_begun.recv().unwrap();
        shared
            .with(|_| {
                lock(&order).push("call");
                Ok(())
            })
            .unwrap();
        assert_eq!(slice.join().unwrap(), (true, true));
    });
    assert_eq!(*lock(&order), ["call", "second round"]);
}

#[test]
fn whoever_only_reads_neither_ends_a_round_nor_waits_for_it() {
    let (_folder, shared) = shared();
    shared.with(|store| Ok(store.add(&lines(3))?)).unwrap();
    let outcome = shared.round(
        false,
        || false,
        |store, flag| {
            // On the thread of the round itself: it would wait for ever if it waited.
            let read =
                shared.read(|reader| Ok((reader.examples().len(), reader.grafts()?, reader.current()?)));
            (Some(store), read.map(|read| (read, flag.is_raised())))
        },
    );
    assert!(matches!(outcome.unwrap(), RoundOutcome::Done(((3, grafts, None), false)) if grafts.is_empty()));
}

#[test]
fn what_was_changed_is_read_from_then_on_under_another_key_too() {
    let settings = StoreSettings { key: Some(vec![7; 32]), ..StoreSettings::default() };
    let (_folder, shared) = shared_with(settings);
    for n in [2, 5] {
        block_on(shared.write(move |store| Ok(store.add(&lines(n))?))).unwrap();
        assert_eq!(shared.read(|reader| Ok(reader.examples().len())), Ok(n));
    }
    shared.with(|store| Ok(store.write_document("usage", &vec![1, 2])?)).unwrap();
    block_on(shared.rotate_key(vec![8; 32])).unwrap();
    assert_eq!(shared.read(|reader| Ok(reader.read_document("usage")?)), Ok(Some(vec![1, 2])));
    // Also what failed is read as it is now.
    let failed = block_on(shared.write(|store| {
        store.add(&lines(6))?;
        Ok(store.promote(GraftId(1))?)
    }));
    assert!(matches!(failed, Err(NightgraftError::Unsupported { .. })), "{failed:?}");
    assert_eq!(shared.read(|reader| Ok(reader.examples().len())), Ok(6));
}

#[test]
fn a_change_that_waits_for_a_round_keeps_nobody_who_reads_and_no_other_store() {
    let (_folder, shared) = shared();
    let (_other_folder, other) = self::shared();
    let (sender, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        let slice = scope.spawn(|| {
            shared.round(
                false,
                || false,
                |store, flag| {
                    sender.send(()).unwrap();
                    let (sender, ended) = mpsc::channel();
                    let _waking = flag.when_raised(move || {
                        let _ = sender.send(());
                    });
                    ended.recv().unwrap();
                    // The change waits for this round to end, which it does not before both of these are over.
                    let read = shared.read(|reader| Ok(reader.examples().len()));
                    let written = block_on(other.write(|store| Ok(store.add(&lines(1))?.len())));
                    (Some(store), read.and_then(|read| Ok((read, written?))))
                },
            )
        });
        has_begun.recv().unwrap();
        block_on(shared.write(|store| Ok(store.add(&lines(4))?))).unwrap();
        assert!(matches!(slice.join().unwrap().unwrap(), RoundOutcome::Yielded((0, 1))));
    });
    assert_eq!(shared.read(|reader| Ok(reader.examples().len())), Ok(4));
}

#[test]
fn a_slice_that_is_over_does_not_yield() {
    let (_folder, shared) = shared();
    for is_over in [false, true] {
        let outcome = shared.round(false, || is_over, until_ended(|| shared.interrupt())).unwrap();
        assert_eq!(matches!(outcome, RoundOutcome::Done(())), is_over);
    }
    let outcome = shared.round(false, || false, |store, _| (Some(store), Ok(7))).unwrap();
    assert!(matches!(outcome, RoundOutcome::Done(7)));
}

#[test]
fn a_round_that_follows_one_that_yielded_is_left_alone_for_two_seconds() {
    let now = Instant::now();
    let cooldown = |has_yielded, passed| {
        let round = RunningRound::starting_at(now, StopFlag::new(), has_yielded);
        round.cooldown(now + Duration::from_millis(passed)).as_millis()
    };
    assert_eq!([0, 1, 3000].map(|passed| cooldown(false, passed)), [0, 0, 0]);
    assert_eq!(
        [0, 1, 1500, 1999, 2000, 3000].map(|passed| cooldown(true, passed)),
        [2000, 1999, 500, 1, 0, 0]
    );
}

#[test]
fn a_release_ends_a_round_and_nobody_has_the_store_any_more() {
    let (_folder, shared) = shared();
    let (sender, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        let slice =
            scope.spawn(|| shared.round(false, || false, until_ended(|| sender.send(()).unwrap())).map(drop));
        has_begun.recv().unwrap();
        block_on(shared.release()).unwrap();
        assert_eq!(slice.join().unwrap(), Ok(()));
    });
    let released = Err(NightgraftError::cancelled("the store was released"));
    assert_eq!(shared.with(|_| Ok(())), released);
    assert_eq!(shared.read(|_| Ok(())), released);
    assert_eq!(shared.round(false, || false, |store, _| (Some(store), Ok(()))).map(drop), released);
}

#[test]
fn a_store_that_is_lost_to_an_error_is_opened_again() {
    let (_folder, shared) = shared();
    let seed = shared.with(|store| Ok(store.seed())).unwrap();
    let lost: Result<RoundOutcome<()>> =
        shared.round(false, || false, |_, _| (None, Err(NightgraftError::cancelled("made to"))));
    assert_eq!(lost.map(drop), Err(NightgraftError::cancelled("made to")));
    assert_eq!(shared.with(|store| Ok(store.seed())), Ok(seed));
}

#[test]
fn a_call_that_panics_does_not_keep_the_store() {
    let (_folder, shared) = shared();
    let panicking = || shared.with(|_| -> Result<()> { panic!("made to") });
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    assert_eq!(shared.waiting.load(Ordering::SeqCst), 0);
    let outcome = shared.round(false, || false, |store, flag| (Some(store), Ok(flag.is_raised()))).unwrap();
    assert!(matches!(outcome, RoundOutcome::Done(false)));
}
