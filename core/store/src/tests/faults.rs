//! A disk that fails at every operation of every change.

use std::sync::Arc;

use nightgraft_files::file_system::FileSystem;
use nightgraft_testing::{Failure, Fault, FaultyDisk};

use super::*;

const CANARY: &str = "kites";

/// Something that changes a store, and whether doing it twice is the same as once.
struct Change {
    name: &'static str,
    run: fn(&mut Store) -> crate::Result<()>,
    repeats: bool,
}

const CHANGES: [Change; 8] = [
    Change {
        name: "add",
        run: |store| store.add(&lines(&["seven swans", "eight swans"])).map(drop),
        repeats: true,
    },
    Change { name: "delete one", run: |store| store.delete(&[ExampleId(3)]).map(drop), repeats: true },
    Change {
        name: "delete all",
        run: |store| store.delete(&[1, 3, 4, 5, 6].map(ExampleId)).map(drop),
        repeats: true,
    },
    Change { name: "compact", run: Store::compact, repeats: true },
    Change {
        name: "add graft",
        run: |store| store.add_graft(new_graft(&[3], true), &adapter(0.5)).map(drop),
        repeats: false,
    },
    Change { name: "promote", run: |store| store.promote(GraftId(1)), repeats: true },
    Change { name: "roll back", run: |store| store.rollback().map(drop), repeats: false },
    Change { name: "delete graft", run: |store| store.delete_graft(GraftId(3)), repeats: false },
];

pub(super) fn faults() -> [fn(u64) -> Fault; 5] {
    [
        |at| Fault { at, only: None, failure: Failure::NoSpace, for_good: false },
        |at| Fault { at, only: None, failure: Failure::Device, for_good: false },
        |at| Fault { at, only: None, failure: Failure::Short, for_good: false },
        |at| Fault { at, only: None, failure: Failure::Short, for_good: true },
        |at| Fault { at, only: None, failure: Failure::PowerCut, for_good: true },
    ]
}

pub(super) fn on(disk: &Arc<FaultyDisk>, root: &Path, key: Option<u8>) -> crate::Result<Store> {
    Store::open_with(root, with_key(key), Arc::clone(disk) as Arc<dyn FileSystem>)
}

/// What is not listed is nowhere: the kites of the store that `furnish` made.
fn assert_deleted_text_is_gone(root: &Path, view: &View) {
    for (id, name) in [(1, "one"), (3, "three"), (4, "four"), (5, "five"), (6, "six")] {
        let text = if id == 1 { format!("{name} kite\"") } else { format!("{name} {CANARY}") };
        let is_listed = view.examples.iter().any(|(other, _)| *other == id);
        assert_eq!(files_with(root, text.as_bytes()).len(), usize::from(is_listed), "{text}");
    }
}

#[test]
fn a_failing_disk_leaves_the_state_before_or_after() {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, None);
    let before = view(&open(&original));
    let (mut struck, thinning) = (0, thinning(20));
    for Change { name, run, repeats } in &CHANGES {
        let fresh = || {
            let _ = fs::remove_dir_all(&root);
            copy(&original, &root);
        };
        fresh();
        let mut store = open(&root);
        run(&mut store).unwrap();
        let after = view(&store);
        drop(store);
        assert!(before != after || *name == "compact", "{name}");
        for fault in faults() {
            let mut outcomes = [0, 0];
            for at in (0..).step_by(thinning) {
                fresh();
                let disk = FaultyDisk::healthy();
                let mut store = on(&disk, &root, None).unwrap();
                disk.set(Some(fault(at)));
                let result = run(&mut store);
                if !disk.has_struck() {
                    result.unwrap();
                    assert!(at > 2, "{name}: only {at} operations");
                    break;
                }
                struck += 1;
                let place = format!("{name}, {:?}", fault(at));
                // The same process goes on when the disk works again.
                if !fault(at).for_good && *repeats {
                    disk.set(None);
                    let again = run(&mut store);
                    assert!(again.is_ok(), "{place}: {again:?}");
                    assert_eq!(view(&store), after, "{place}");
                    assert_deleted_text_is_gone(&root, &after);
                    drop(store);
                    assert_eq!(view(&open(&root)), after, "{place}");
                    continue;
                }
                drop(store);
                let store = open(&root);
                let now = view(&store);
                assert!(now == before || now == after, "{place}: {now:?}");
                assert!(result.is_err() || now == after, "{place}: said to be done");
                assert!(store.verify().unwrap().is_valid(), "{place}");
                assert_eq!(store.verify().unwrap().unknown, [] as [PathBuf; 0], "{place}");
                outcomes[usize::from(now == after)] += 1;
                assert_deleted_text_is_gone(&root, &now);
            }
            let sum: usize = outcomes.iter().sum();
            assert!(
                sum == 0 || before == after || outcomes[0] > 0,
                "{name}: no failure came before the change: {outcomes:?}"
            );
        }
    }
    assert!(struck > 500 / thinning, "{struck}");
}

#[test]
fn a_deletion_drops_the_session_also_when_it_was_interrupted() {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, None);
    for at in 0.. {
        let _ = fs::remove_dir_all(&root);
        copy(&original, &root);
        let disk = FaultyDisk::healthy();
        let mut store = on(&disk, &root, None).unwrap();
        disk.set(Some(Fault { at, only: None, failure: Failure::Short, for_good: true }));
        let result = store.delete(&[ExampleId(5)]);
        drop(store);
        let store = open(&root);
        let is_deleted = store.deleted().contains(5);
        let left = fs::read_dir(store.session_folder()).unwrap().count();
        assert_eq!(left, if is_deleted { 0 } else { 2 }, "operation {at}");
        if !disk.has_struck() {
            assert!(result.unwrap().session_dropped);
            break;
        }
    }
}

#[test]
fn the_beginning_of_a_store_can_be_interrupted() {
    let folder = folder();
    for (key, power_cut) in [(None, false), (Some(4), false), (None, true)] {
        for at in 0.. {
            let root = folder.path().join(format!("{key:?}-{power_cut}-{at}"));
            let disk = if power_cut { FaultyDisk::power_cut_after(at) } else { FaultyDisk::dead_after(at) };
            let result = on(&disk, &root, key);
            if !disk.has_struck() {
                result.unwrap();
                assert!(at > 8);
                break;
            }
            drop(result);
            let mut store = Store::open(&root, with_key(key)).unwrap();
            store.add(&lines(&["a"])).unwrap();
            assert!(store.verify().unwrap().is_valid() && store.verify().unwrap().unknown.is_empty());
        }
    }
}

#[test]
fn opening_on_a_failing_disk_says_so_and_harms_nothing() {
    let folder = folder();
    furnish(folder.path(), Some(4));
    let before = view(&Store::open(folder.path(), with_key(Some(4))).unwrap());
    for fault in faults() {
        for at in 0.. {
            let disk = FaultyDisk::new(fault(at));
            let result = on(&disk, folder.path(), Some(4));
            if !disk.has_struck() {
                result.unwrap();
                break;
            }
            if let Err(error) = result {
                assert!(matches!(error, Error::Io(_)), "operation {at}: {error}");
            }
        }
    }
    assert_eq!(view(&Store::open(folder.path(), with_key(Some(4))).unwrap()), before);
}

#[test]
fn the_text_of_an_addition_that_failed_is_gone_after_the_next_opening() {
    let folder = folder();
    drop(open(folder.path()));
    for at in 0.. {
        let disk = FaultyDisk::healthy();
        let mut store = on(&disk, folder.path(), None).unwrap();
        disk.set(Some(Fault { at, only: None, failure: Failure::Device, for_good: true }));
        let result = store.add(&lines(&["swan"]));
        drop(store);
        let mut store = open(folder.path());
        let ids: Vec<_> = store.examples().iter().map(|example| example.id).collect();
        assert_eq!(files_with(folder.path(), b"swan").len(), ids.len());
        store.delete(&ids).unwrap();
        assert!(files_with(folder.path(), b"swan").is_empty());
        if !disk.has_struck() {
            result.unwrap();
            break;
        }
    }
}
