//! What the owner of the data may ask for: that examples are forgotten, handed out, and that the whole store goes.

use std::sync::Arc;

use nightgraft_files::file_system::FileSystem;
use nightgraft_testing::FaultyDisk;

use super::faults::{faults, on};
use super::*;

/// The files below a folder, by their places in it.
fn listing(root: &Path) -> Vec<String> {
    let place = |path: PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    if root.exists() { files(root).into_iter().map(place).collect() } else { Vec::new() }
}

/// What is in the first listing alone.
fn without(listing: &[String], other: &[String]) -> Vec<String> {
    listing.iter().filter(|place| !other.contains(place)).cloned().collect()
}

#[test]
fn forgetting_falls_back_to_the_newest_graft_that_never_saw_the_example() {
    let grafts = |ids: &[u64]| ids.iter().map(|id| format!("grafts/{id:08}.ngs")).collect::<Vec<_>>();
    let session = || vec!["session/session.ngs".to_owned(), "session/step-00000004.ngck".to_owned()];
    for (forgotten, current, files_gone) in [
        (1, None, grafts(&[1, 2, 3])),
        (2, Some(1), grafts(&[2])), // deleted long ago, and its graft is still in use
        (3, Some(2), grafts(&[3])),
        (5, Some(2), session()),
        (99, Some(2), vec![]),
    ] {
        let folder = folder();
        furnish(folder.path(), Some(1));
        let before = listing(folder.path());
        let mut store = Store::open(folder.path(), with_key(Some(1))).unwrap();
        let was_there = store.examples().iter().any(|example| example.id.0 == forgotten);
        let report = store.forget(&[ExampleId(forgotten)]).unwrap();
        assert_eq!(report.deleted.len(), usize::from(was_there), "{forgotten}");
        assert_eq!(
            report.deleted_grafts.len(),
            files_gone.iter().filter(|f| f.starts_with("grafts")).count()
        );
        assert_eq!((report.current, report.session_dropped), (current.map(GraftId), files_gone == session()));
        let after = listing(folder.path());
        assert_eq!((without(&before, &after), without(&after, &before)), (files_gone, vec![]), "{forgotten}");
        assert!(store.verify().unwrap().is_valid());
        drop(store);
        let store = Store::open(folder.path(), with_key(Some(1))).unwrap();
        assert_eq!(store.current().unwrap(), current.map(GraftId));
        assert!(store.examples().iter().all(|example| example.id.0 != forgotten));
    }
}

#[test]
fn a_session_that_goes_on_from_a_forgotten_graft_goes_too() {
    let folder = folder();
    furnish(folder.path(), None);
    let mut store = open(folder.path());
    let plan = serde_json::json!({ "train": set(&[4, 5]), "held_out": set(&[6]), "parent": 2 });
    store.write_document("session", &plan).unwrap();
    let report = store.forget(&[ExampleId(2)]).unwrap();
    assert_eq!((report.deleted_grafts, report.current), (vec![GraftId(2)], Some(GraftId(1))));
    assert!(report.session_dropped);
    assert_eq!(fs::read_dir(store.session_folder()).unwrap().count(), 0);
}

#[test]
fn a_graft_that_cannot_say_what_it_saw_is_forgotten_with_the_others() {
    let folder = folder();
    furnish(folder.path(), None);
    let graft = folder.path().join("grafts/00000002.ngs");
    fs::write(&graft, b"not a graft any more").unwrap();
    let mut store = open(folder.path());
    let report = store.forget(&[ExampleId(3)]).unwrap();
    assert_eq!((report.deleted_grafts, report.current), (vec![GraftId(2), GraftId(3)], Some(GraftId(1))));
    assert!(!graft.exists());
}

#[test]
fn forgetting_that_is_interrupted_keeps_the_example_or_nothing_of_it() {
    const FORGOTTEN: [ExampleId; 2] = [ExampleId(1), ExampleId(5)];
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, None);
    let fresh = || {
        let _ = fs::remove_dir_all(&root);
        copy(&original, &root);
    };
    fresh();
    let mut store = open(&root);
    store.forget(&FORGOTTEN).unwrap();
    let after = view(&store);
    assert!(after.grafts.is_empty() && after.current.is_none() && after.checkpoints == 0);
    drop(store);
    let (mut outcomes, thinning) = ([0, 0], thinning(6));
    for fault in faults() {
        for at in (0..).step_by(thinning) {
            fresh();
            let disk = FaultyDisk::healthy();
            let mut store = on(&disk, &root, None).unwrap();
            disk.set(Some(fault(at)));
            let result = store.forget(&FORGOTTEN);
            if !disk.has_struck() {
                result.unwrap();
                break;
            }
            let place = format!("{:?}", fault(at));
            if fault(at).for_good {
                drop(store);
                store = open(&root);
            } else {
                disk.set(None);
            }
            let is_listed = |id: &ExampleId| store.examples().iter().any(|example| example.id == *id);
            let is_kept = FORGOTTEN.iter().any(is_listed);
            outcomes[usize::from(is_kept)] += 1;
            if !is_kept && fault(at).for_good {
                assert_eq!(view(&store), after, "{place}");
                for text in ["one kite\"", "five kites"] {
                    assert_eq!(files_with(&root, text.as_bytes()), [] as [PathBuf; 0], "{place}");
                }
            }
            assert!(result.is_err() || !is_kept, "{place}: said to be done");
            store.forget(&FORGOTTEN).unwrap();
            assert_eq!(view(&store), after, "{place}");
            drop(store);
            let store = open(&root);
            assert_eq!(view(&store), after, "{place}");
            assert!(store.verify().unwrap().is_valid(), "{place}");
        }
    }
    assert!(outcomes.iter().all(|&n| n > 20 / thinning), "{outcomes:?}");
}

#[test]
fn exported_examples_are_those_that_were_added() {
    let folder = folder();
    let (root, out) = (folder.path().join("store"), folder.path().join("mine.jsonl"));
    furnish(&root, Some(1));
    let store = Store::open(&root, with_key(Some(1))).unwrap();
    let before = listing(&root);
    assert_eq!(store.export_examples(&out).unwrap(), 5);
    assert_eq!(listing(&root), before);
    let expected: Vec<_> = texts(&store).into_iter().map(|(_, line)| line).collect();
    assert_eq!(fs::read_to_string(&out).unwrap(), expected.join("\n") + "\n");
    let mut copy = open(&folder.path().join("copy"));
    copy.import(&out, None, false).unwrap();
    assert_eq!(texts(&copy).into_iter().map(|(_, line)| line).collect::<Vec<_>>(), expected);

    for inside in ["mine.jsonl", "store.ngs", "journal/mine.jsonl"] {
        assert_eq!(why_not(store.export_examples(&root.join(inside))), StoreProblem::ExportInside);
    }
    assert_eq!(listing(&root), before);
    assert!(store.verify().unwrap().is_valid());
}

#[test]
fn an_export_is_whole_or_not_there() {
    let folder = folder();
    let (root, out) = (folder.path().join("store"), folder.path().join("out"));
    furnish(&root, None);
    for fault in faults().into_iter().filter(|fault| !fault(0).for_good) {
        for at in 0.. {
            let _ = fs::remove_dir_all(&out);
            fs::create_dir(&out).unwrap();
            let disk = FaultyDisk::healthy();
            let store = on(&disk, &root, None).unwrap();
            disk.set(Some(fault(at)));
            let result = store.export_examples(&out.join("mine.jsonl"));
            if !disk.has_struck() {
                assert_eq!((result.unwrap(), listing(&out)), (5, vec!["mine.jsonl".to_owned()]));
                break;
            }
            result.unwrap_err();
            let left = listing(&out);
            let is_whole = || fs::read_to_string(out.join("mine.jsonl")).unwrap().lines().count() == 5;
            assert!(left.is_empty() || left == ["mine.jsonl"] && is_whole(), "{:?}: {left:?}", fault(at));
        }
    }
}

#[test]
fn a_destroyed_store_leaves_nothing() {
    let folder = folder();
    let root = folder.path().join("store");
    for damage in ["", "store.ngs", "manifest.ngs", "current.ngs"] {
        furnish(&root, Some(1));
        fs::write(root.join("grafts/.00000004.ngs.1-1.ngtmp"), "half a graft").unwrap();
        if !damage.is_empty() {
            fs::write(root.join(damage), "damaged").unwrap();
        }
        let before = listing(&root);
        let mut report = Store::destroy(&root).unwrap();
        report.removed.sort();
        let removed: Vec<_> = report.removed.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!((removed, report.left), (before, vec![]));
        assert!(!root.exists());
        assert_eq!(listing(folder.path()), [] as [String; 0]);
        // It is gone, which is all that is asked for.
        assert_eq!(Store::destroy(&root).unwrap(), DestroyReport::default());
    }
}

#[cfg(unix)]
#[test]
fn a_store_behind_a_link_is_destroyed_and_the_link_stays() {
    let folder = folder();
    let (root, link) = (folder.path().join("store"), folder.path().join("link"));
    furnish(&root, None);
    std::os::unix::fs::symlink(&root, &link).unwrap();
    for place in [link.clone(), root.join(".")] {
        let report = Store::destroy(&place).unwrap();
        assert!(!report.removed.is_empty() && report.left.is_empty(), "{report:?}");
        assert_eq!((listing(&root), root.is_dir()), (vec![], true));
        furnish(&link, None);
    }
}

#[test]
fn a_destruction_that_was_interrupted_opens_nothing_and_goes_on() {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    for key in [None, Some(1)] {
        let _ = fs::remove_dir_all(&original);
        furnish(&original, key);
        for fault in faults() {
            for at in 0.. {
                let _ = fs::remove_dir_all(&root);
                copy(&original, &root);
                let disk = FaultyDisk::new(fault(at));
                let result = Store::destroy_with(&root, Arc::clone(&disk) as Arc<dyn FileSystem>);
                if !disk.has_struck() {
                    result.unwrap();
                    assert!(at > 20 && !root.exists());
                    break;
                }
                result.unwrap_err();
                let has_header = ["store.ngs", "store.copy.ngs"].iter().any(|name| root.join(name).exists());
                let no = StoreOptions { create: false, ..with_key(key) };
                assert_eq!(Store::open(&root, no).is_ok(), has_header, "{:?}", fault(at));
                Store::destroy(&root).unwrap();
                assert_eq!(listing(&root), [] as [String; 0]);
            }
        }
    }
}

#[test]
fn what_is_no_store_is_never_destroyed() {
    let folder = folder();
    let root = folder.path();
    for (name, text) in [
        ("notes.txt", "water the plants"),
        ("store.ngs", "another program's"),
        ("journal/1.txt", "dear diary"),
    ] {
        let theirs = root.join("theirs");
        fs::create_dir_all(theirs.join("journal")).unwrap();
        fs::write(theirs.join(name), text).unwrap();
        assert_eq!(why_not(Store::destroy(&theirs)), StoreProblem::NotAStore);
        assert_eq!(listing(&theirs), [name]);
        fs::remove_dir_all(&theirs).unwrap();
    }
    let file = root.join("a.txt");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Store::destroy(&file), Err(Error::Io(_))));
    assert!(file.exists());

    // Nor is anything that somebody else has put into a store.
    let mine = root.join("mine");
    furnish(&mine, None);
    fs::write(mine.join("grafts/notes.txt"), "water the plants").unwrap();
    let store = open(&mine);
    assert!(matches!(Store::destroy(&mine), Err(Error::Locked { .. })));
    assert!(store.verify().unwrap().is_valid());
    drop(store);
    assert_eq!(Store::destroy(&mine).unwrap().left, [Path::new("grafts/notes.txt")]);
    assert_eq!(listing(&mine), ["grafts/notes.txt"]);
    assert_eq!(why_not(Store::destroy(&mine)), StoreProblem::NotAStore);
}
