//! Another key, also when it is interrupted.

use std::sync::Arc;

use nightgraft_files::file_system::FileSystem;
use nightgraft_testing::{Failure, Fault, FaultyDisk};

use super::*;

const OLD: Option<u8> = Some(1);
const NEW: Option<u8> = Some(2);

/// Every sealed file is under one data key, and none is left over.
fn assert_finished(root: &Path, id: u32) {
    let store = Store::open(root, with_key(NEW)).unwrap();
    assert!(!store.header.is_rotating());
    let is_encrypted = |path: &&PathBuf| {
        !["store.ngs", "store.copy.ngs", ".lock"].iter().any(|name| path.file_name().unwrap() == *name)
    };
    for path in files(root).iter().filter(is_encrypted) {
        assert_eq!(store.vault().key_id(path).unwrap(), Some(id), "{}", path.display());
    }
    let report = store.verify().unwrap();
    assert!(report.is_valid() && report.unknown.is_empty(), "{report:?}");
}

#[test]
fn the_new_key_opens_everything_and_the_old_one_nothing() {
    let folder = folder();
    furnish(folder.path(), OLD);
    let mut store = Store::open(folder.path(), with_key(OLD)).unwrap();
    let before = view(&store);
    let old_header = fs::read(folder.path().join("store.ngs")).unwrap();
    store.rotate_key(key(2)).unwrap();
    assert_eq!(view(&store), before);
    store.add(&lines(&["after"])).unwrap();
    store.delete(&[ExampleId(7)]).unwrap();
    drop(store);
    assert_finished(folder.path(), 2);
    assert!(matches!(Store::open(folder.path(), with_key(OLD)), Err(Error::WrongKey { .. })));
    let now = view(&Store::open(folder.path(), with_key(NEW)).unwrap());
    assert_eq!((now.examples, now.adapters), (before.examples, before.adapters));

    // Not even the header of former times helps the old key.
    let header = folder.path().join("store.ngs");
    let new_header = fs::read(&header).unwrap();
    fs::write(&header, &old_header).unwrap();
    assert!(Store::open(folder.path(), with_key(OLD)).is_err());
    let copy = folder.path().join("store.copy.ngs");
    let new_copy = fs::read(&copy).unwrap();
    fs::remove_file(&copy).unwrap();
    let shut = Store::open(folder.path(), with_key(OLD)).unwrap_err();
    assert!(matches!(&shut, Error::Corrupted { path, .. } if path.ends_with("manifest.ngs")), "{shut}");
    fs::write(&header, new_header).unwrap();
    fs::write(&copy, new_copy).unwrap();

    let mut store = Store::open(folder.path(), with_key(NEW)).unwrap();
    store.rotate_key(key(1)).unwrap();
    store.rotate_key(key(2)).unwrap();
    drop(store);
    assert_finished(folder.path(), 4);
}

#[test]
fn a_rotation_killed_anywhere_is_finished_by_the_next_opening() {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, OLD);
    let before = view(&Store::open(&original, with_key(OLD)).unwrap());
    let (mut outcomes, thinning) = ([0, 0], thinning(41));
    for (failure, for_good) in [
        (Failure::Short, true),
        (Failure::PowerCut, true),
        (Failure::Device, false),
        (Failure::NoSpace, false),
    ] {
        for at in (0..).step_by(thinning) {
            let _ = fs::remove_dir_all(&root);
            copy(&original, &root);
            let disk = FaultyDisk::healthy();
            let mut store =
                Store::open_with(&root, with_key(OLD), Arc::clone(&disk) as Arc<dyn FileSystem>).unwrap();
            disk.set(Some(Fault { at, only: None, failure, for_good }));
            let result = store.rotate_key(key(2));
            // With a disk that failed once the same process can go on with its work.
            if !for_good {
                disk.set(None);
                store.add(&lines(&["meanwhile"])).unwrap();
                assert_eq!(view(&store).adapters, before.adapters);
                store.delete(&[ExampleId(7)]).unwrap();
            }
            drop(store);
            if !disk.has_struck() && for_good {
                result.unwrap();
                break;
            }
            let is_new = match Store::open(&root, with_key(OLD)) {
                Ok(store) => {
                    assert!(result.is_err() && !store.header.is_rotating());
                    false
                }
                Err(Error::WrongKey { .. }) => true,
                Err(error) => panic!("operation {at}: {error}"),
            };
            outcomes[usize::from(is_new)] += 1;
            if is_new && at % 3 == 0 {
                // Finishing it may be interrupted as well.
                let disk = FaultyDisk::dead_after(at % 50);
                drop(Store::open_with(&root, with_key(NEW), disk as Arc<dyn FileSystem>));
            }
            let store = Store::open(&root, with_key(if is_new { NEW } else { OLD })).unwrap();
            let now = view(&store);
            assert_eq!((&now.examples, &now.adapters), (&before.examples, &before.adapters));
            assert_eq!((now.current, &now.documents), (before.current, &before.documents));
            drop(store);
            if is_new {
                assert_finished(&root, 2);
            } else {
                // And then it can be tried again.
                let mut store = Store::open(&root, with_key(OLD)).unwrap();
                store.rotate_key(key(2)).unwrap();
                drop(store);
                assert_finished(&root, 2);
            }
            if result.is_ok() {
                break;
            }
        }
    }
    assert!(outcomes[0] > 50 / thinning && outcomes[1] > 100 / thinning, "{outcomes:?}");
}

#[test]
fn opening_with_both_keys_ends_with_the_new_one_wherever_it_was_killed() {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, OLD);
    let before = view(&Store::open(&original, with_key(OLD)).unwrap());
    let places = |root: &Path| -> Vec<PathBuf> {
        files(root).iter().map(|path| path.strip_prefix(root).unwrap().to_owned()).collect()
    };
    let both = || StoreOptions { former_key: Some(key(1)), create: false, ..with_key(NEW) };
    let (mut outcomes, thinning) = ([0, 0], thinning(7));
    for (failure, for_good) in [(Failure::Short, true), (Failure::PowerCut, true), (Failure::Device, false)] {
        for at in (0..).step_by(thinning) {
            let _ = fs::remove_dir_all(&root);
            copy(&original, &root);
            let disk = FaultyDisk::new(Fault { at, only: None, failure, for_good });
            let result = Store::open_with(&root, both(), Arc::clone(&disk) as Arc<dyn FileSystem>).map(drop);
            let is_old = Store::open(&root, with_key(OLD)).is_ok();
            assert!(!is_old || result.is_err(), "operation {at}: said to be done");
            outcomes[usize::from(is_old)] += 1;
            let store = Store::open(&root, both()).unwrap();
            let now = view(&store);
            assert_eq!((&now.examples, &now.adapters), (&before.examples, &before.adapters));
            assert_eq!((now.current, &now.documents), (before.current, &before.documents));
            drop(store);
            assert_finished(&root, 2);
            assert!(matches!(Store::open(&root, with_key(OLD)), Err(Error::WrongKey { .. })));
            // No file is more or less there than before.
            assert_eq!(places(&root), places(&original));
            if !disk.has_struck() {
                result.unwrap();
                break;
            }
        }
    }
    assert!(outcomes.iter().all(|&n| n > 50 / thinning), "{outcomes:?}");
}

#[test]
fn a_former_key_is_of_no_use_to_a_store_without_one_or_with_a_third() {
    let folder = folder();
    let (plain, other) = (folder.path().join("plain"), folder.path().join("other"));
    furnish(&plain, None);
    furnish(&other, Some(3));
    let both = || StoreOptions { former_key: Some(key(1)), ..with_key(NEW) };
    assert_eq!(why_not(Store::open(&plain, both())), StoreProblem::NoKeyToChange);
    assert!(matches!(Store::open(&other, both()), Err(Error::WrongKey { .. })));
    // A new store begins under the key itself.
    drop(Store::open(&folder.path().join("new"), both()).unwrap());
    Store::open(&folder.path().join("new"), with_key(NEW)).unwrap();
}

#[test]
fn after_a_change_that_failed_the_store_says_which_key_it_has() {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, OLD);
    let (mut outcomes, thinning) = ([0, 0], thinning(7));
    for at in (0..).step_by(thinning) {
        let _ = fs::remove_dir_all(&root);
        copy(&original, &root);
        let disk = FaultyDisk::healthy();
        let mut store =
            Store::open_with(&root, with_key(OLD), Arc::clone(&disk) as Arc<dyn FileSystem>).unwrap();
        disk.set(Some(Fault { at, only: None, failure: Failure::NoSpace, for_good: false }));
        let result = store.rotate_key(key(2));
        let is_new = store.is_opened_by(&key(2));
        assert_eq!(store.is_opened_by(&key(1)), !is_new);
        drop(store);
        Store::open(&root, with_key(if is_new { NEW } else { OLD })).unwrap();
        if !disk.has_struck() {
            result.unwrap();
            break;
        }
        outcomes[usize::from(is_new)] += 1;
    }
    assert!(outcomes.iter().all(|&n| n > 20 / thinning), "{outcomes:?}");
}

#[test]
fn a_damaged_file_stops_a_rotation_before_it_begins() {
    let folder = folder();
    furnish(folder.path(), OLD);
    let graft = folder.path().join("grafts/00000003.ngs");
    let mut bytes = fs::read(&graft).unwrap();
    bytes[500] ^= 1;
    fs::write(&graft, bytes).unwrap();
    let mut store = Store::open(folder.path(), with_key(OLD)).unwrap();
    assert!(matches!(store.rotate_key(key(2)), Err(Error::Corrupted { path, .. }) if path == graft));
    drop(store);
    let mut store = Store::open(folder.path(), with_key(OLD)).unwrap();
    store.repair().unwrap();
    store.rotate_key(key(2)).unwrap();
    drop(store);
    assert_finished(folder.path(), 2);
}

#[test]
fn a_file_damaged_in_the_middle_of_a_rotation_costs_no_other() {
    let folder = folder();
    furnish(folder.path(), OLD);
    let disk = FaultyDisk::healthy();
    let mut store =
        Store::open_with(folder.path(), with_key(OLD), Arc::clone(&disk) as Arc<dyn FileSystem>).unwrap();
    let fault = Fault {
        at: 6,
        only: Some(nightgraft_testing::Operation::Rename),
        failure: Failure::Device,
        for_good: true,
    };
    disk.set(Some(fault));
    store.rotate_key(key(2)).unwrap_err();
    drop(store);
    let checkpoint = folder.path().join("session/step-00000004.ngck");
    let mut bytes = fs::read(&checkpoint).unwrap();
    bytes[300] ^= 1;
    fs::write(&checkpoint, bytes).unwrap();
    // It opens, and both data keys stay until what is damaged is gone.
    let mut store = Store::open(folder.path(), with_key(NEW)).unwrap();
    assert!(store.header.is_rotating());
    assert_eq!(store.examples().len(), 5);
    store.repair().unwrap();
    assert!(!store.header.is_rotating());
    drop(store);
    assert_finished(folder.path(), 2);
}
