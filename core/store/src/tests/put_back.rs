//! Single files of an earlier time in a store of today.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::Inconsistency;

/// What a store has on the disk.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn snapshot(root: &Path) -> Files {
    let place = |path: &PathBuf| path.strip_prefix(root).unwrap().to_owned();
    let kept = files(root).into_iter().filter(|path| !path.ends_with(".lock"));
    kept.map(|path| (place(&path), fs::read(&path).unwrap())).collect()
}

/// What happens to a store.
type Change = Box<dyn Fn(&mut Store)>;

/// One change after the other, of every kind.
fn changes(key_byte: Option<u8>) -> Vec<Change> {
    let checkpoint = |step: u64| {
        move |store: &mut Store| {
            let path = store.session_folder().join(format!("step-{step:08}.ngck"));
            let mut file = store.vault().create(&path, crate::checkpoint::ROLE).unwrap();
            file.append(&[step as u8; 100_000]).unwrap();
            let former = store.session_folder().join(format!("step-{:08}.ngck", step - 2));
            store.vault().put(vec![file], &[former]).unwrap();
        }
    };
    let graft = |store: &mut Store| {
        let id = store.add_graft(new_graft(&[1], true), &adapter(0.5)).unwrap();
        store.promote(id).unwrap();
    };
    let mut changes: Vec<Change> = vec![
        Box::new(|store| drop(store.add(&lines(&["one kite", "two kites", "three kites"])).unwrap())),
        Box::new(|store| drop(store.add(&lines(&["four kites", "five kites"])).unwrap())),
        Box::new(|store| drop(store.delete(&[ExampleId(2)]).unwrap())),
        Box::new(|store| drop(store.delete(&[ExampleId(4)]).unwrap())),
        Box::new(graft),
        Box::new(|store| {
            store.write_document("session", &serde_json::json!({ "train": set(&[1, 3]) })).unwrap()
        }),
        Box::new(|store| store.write_document("usage", &vec![1]).unwrap()),
        Box::new(checkpoint(3)),
        Box::new(checkpoint(4)),
        Box::new(checkpoint(5)),
        Box::new(checkpoint(5)),
        Box::new(|store| store.write_document("usage", &vec![2]).unwrap()),
        // The same content as once before is another version all the same.
        Box::new(|store| store.write_document("usage", &vec![1]).unwrap()),
        Box::new(graft),
        Box::new(graft),
        Box::new(|store| assert!(store.rollback().unwrap().is_some())),
        Box::new(|store| store.delete_graft(GraftId(3)).unwrap()),
        Box::new(|store| store.compact().unwrap()),
        Box::new(|store| drop(store.delete(&[ExampleId(5)]).unwrap())),
        Box::new(|store| drop(store.add(&lines(&["six kites"])).unwrap())),
        Box::new(|store| store.drop_session().map(drop).unwrap()),
    ];
    if key_byte.is_some() {
        changes.insert(12, Box::new(|store| store.rotate_key(key(1)).unwrap()));
    }
    changes
}

#[test]
fn any_file_of_an_earlier_time_is_told_in_a_plain_store() {
    put_back_each(None);
}

#[test]
fn any_file_of_an_earlier_time_is_told_in_an_encrypted_store() {
    put_back_each(Some(1));
}

fn put_back_each(key_byte: Option<u8>) {
    let folder = folder();
    let (original, root) = (folder.path().join("original"), folder.path().join("store"));
    let mut store = Store::open(&original, with_key(key_byte)).unwrap();
    let mut past: BTreeSet<(PathBuf, Vec<u8>)> = snapshot(&original).into_iter().collect();
    let (mut tried, one_of_each) = (BTreeSet::new(), thinning(2) > 1);
    let changes = changes(key_byte);
    for (index, change) in changes.iter().enumerate() {
        change(&mut store);
        let now = snapshot(&original);
        let is_last = index + 1 == changes.len();
        for (place, bytes) in &past {
            // All of them at the end, and those of the change before after each.
            if now.get(place) == Some(bytes) || !(is_last || index % 4 == 2) {
                continue;
            }
            if one_of_each && tried.contains(place) {
                continue;
            }
            let _ = fs::remove_dir_all(&root);
            copy(&original, &root);
            fs::create_dir_all(root.join(place).parent().unwrap()).unwrap();
            fs::write(root.join(place), bytes).unwrap();
            assert_told(&root, place, key_byte, &store);
            tried.insert(place.clone());
        }
        past.extend(now);
        assert!(store.verify().unwrap().is_valid());
    }
    let names: Vec<_> = tried.iter().map(|place| place.to_str().unwrap()).collect();
    for name in
        ["manifest.ngs", "current.ngs", "usage.ngs", "session/step-00000005.ngck", "grafts/00000003.ngs"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(names.iter().filter(|name| name.starts_with("journal/")).count() >= 2, "{names:?}");
    assert_eq!(names.contains(&"store.ngs"), key_byte.is_some(), "a plain store's header never changes");
}

fn is_missing(problem: &FileProblem) -> bool {
    matches!(
        problem,
        FileProblem::Missing
            | FileProblem::MissingGraft(_)
            | FileProblem::Inconsistent(Inconsistency::Missing)
    )
}

/// Opening says which file it is, verifying too, and repairing makes the store valid without anything that was deleted.
fn assert_told(root: &Path, place: &Path, key_byte: Option<u8>, now: &Store) {
    let shown = place.display();
    let path = root.join(place);
    match Store::open(root, with_key(key_byte)) {
        Err(error @ Error::Inconsistent { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(path.to_str().unwrap()) && text.contains("bring back the whole store"),
                "{text}"
            );
        }
        Err(error) => panic!("{shown}: {error}"),
        // A manifest that lists files which were removed since: they are named by a warning.
        Ok(store) => {
            assert_eq!(place, Path::new("manifest.ngs"));
            let damaged = store.verify().unwrap().damaged;
            assert!(damaged.iter().all(|damage| is_missing(&damage.problem)) && !damaged.is_empty());
        }
    }
    let damaged = || Store::open(root, StoreOptions { damaged: true, ..with_key(key_byte) }).unwrap();
    // Looking changes nothing.
    drop(damaged());
    let mut store = damaged();
    let report = store.verify().unwrap();
    let named: Vec<_> = report.damaged.iter().map(|damage| damage.path.as_path()).collect();
    assert!(named == [path.as_path()] || place == Path::new("manifest.ngs"), "{shown}: {:?}", report.damaged);
    assert!(!named.is_empty(), "{shown}");
    assert!(store.add(&lines(&["meanwhile"])).is_err() || place == Path::new("manifest.ngs"), "{shown}");
    store.repair().unwrap();
    let report = store.verify().unwrap();
    assert!(report.is_valid() && report.unknown.is_empty(), "{shown}: {report:?}");
    drop(store);
    let store = Store::open(root, with_key(key_byte)).unwrap();
    assert!(store.verify().unwrap().is_valid(), "{shown}");
    assert!(store.examples().iter().all(|example| !now.deleted().contains(example.id.0)), "{shown}");
    let is_of_the_journal = place.starts_with("journal");
    if !is_of_the_journal {
        let expected: Vec<_> = texts(now);
        let found: Vec<_> =
            texts(&store).into_iter().filter(|(_, line)| !line.contains("meanwhile")).collect();
        assert_eq!(found, expected, "{shown}");
    }
}

#[test]
fn a_next_manifest_of_an_earlier_time_is_told() {
    let folder = folder();
    furnish(folder.path(), None);
    let manifest = folder.path().join("manifest.ngs");
    let earlier = fs::read(&manifest).unwrap();
    open(folder.path()).add(&lines(&["seven kites"])).unwrap();
    let next = folder.path().join("manifest.next.ngs");
    fs::write(&next, earlier).unwrap();
    let error = Store::open(folder.path(), with_key(None)).unwrap_err();
    assert!(
        matches!(&error, Error::Inconsistent { path, why: Inconsistency::PutBack } if *path == next),
        "{error}"
    );
    let mut store = Store::open(folder.path(), StoreOptions { damaged: true, ..with_key(None) }).unwrap();
    assert_eq!(store.repair().unwrap().lost, [] as [String; 0]);
    drop(store);
    assert!(!next.exists());
    assert_eq!(open(folder.path()).examples().len(), 6);
}

#[test]
fn a_missing_manifest_or_history_is_told() {
    for name in ["manifest.ngs", "current.ngs"] {
        for key_byte in [None, Some(1)] {
            let folder = folder();
            furnish(folder.path(), key_byte);
            fs::remove_file(folder.path().join(name)).unwrap();
            let error = Store::open(folder.path(), with_key(key_byte)).unwrap_err();
            let missing = |path: &Path| path == folder.path().join(name);
            assert!(
                matches!(&error, Error::Inconsistent { path, why: Inconsistency::Missing } if missing(path)),
                "{error}"
            );
            let options = StoreOptions { damaged: true, ..with_key(key_byte) };
            let mut store = Store::open(folder.path(), options).unwrap();
            assert_eq!(store.verify().unwrap().damaged.len(), 1);
            assert_eq!(store.repair().unwrap().lost.len(), 1);
            drop(store);
            let store = Store::open(folder.path(), with_key(key_byte)).unwrap();
            assert!(store.verify().unwrap().is_valid());
            assert_eq!(store.current().unwrap().is_none(), name == "current.ngs");
        }
    }
}
