//! Flipped, cut, added and exchanged bytes in every file.

use nightgraft_files::file_system;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::vault::Vault;

/// In each mode.
const MUTATIONS: usize = 1_300;

#[test]
fn every_mutation_of_a_plain_store_is_noticed() {
    mutate(None);
}

#[test]
fn every_mutation_of_an_encrypted_store_is_noticed() {
    mutate(Some(3));
}

fn mutate(key: Option<u8>) {
    let folder = folder();
    let (original, copied) = (folder.path().join("original"), folder.path().join("store"));
    furnish(&original, key);
    let whole = view(&Store::open(&original, with_key(key)).unwrap());
    let all: Vec<_> = files(&original).into_iter().filter(|path| !path.ends_with(".lock")).collect();
    assert_eq!(all.len(), 13);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut hits = vec![0; all.len()];
    let thinning = thinning(20);
    for round in (0..MUTATIONS).step_by(thinning) {
        let which = if round < 3 * all.len() { round % all.len() } else { rng.random_range(0..all.len()) };
        let bytes = fs::read(&all[which]).unwrap();
        let changed = mutation(&bytes, &fs::read(all.choose(&mut rng).unwrap()).unwrap(), &mut rng);
        if changed == bytes {
            continue;
        }
        hits[which] += 1;
        let _ = fs::remove_dir_all(&copied);
        copy(&original, &copied);
        let place = all[which].strip_prefix(&original).unwrap();
        let path = copied.join(place);
        fs::write(&path, changed).unwrap();
        if Vault::plain(file_system::system()).later_version(&path).is_some() {
            continue; // it is not taken for damage
        }
        let is_segment = place.starts_with("journal");
        let is_header = place.ends_with("store.ngs") || place.ends_with("store.copy.ngs");
        let is_manifest = place.ends_with("manifest.ngs");
        let damaged = StoreOptions { damaged: true, ..with_key(key) };
        match Store::open(&copied, with_key(key)) {
            Err(Error::Corrupted { path: named, .. }) => {
                assert_eq!(named, path);
                assert!(is_segment || is_manifest, "{}", place.display());
            }
            Err(other) => panic!("{}: {other}", place.display()),
            Ok(store) => {
                assert!(!is_segment && !is_manifest, "{}", place.display());
                assert_names(&store, &path, &whole);
            }
        }
        let mut store = Store::open(&copied, damaged).unwrap();
        let report = store.verify().unwrap();
        assert_eq!(report.damaged.iter().map(|damage| &damage.path).collect::<Vec<_>>(), [&path]);
        let repaired = store.repair().unwrap();
        let n_lost = usize::from(!is_header);
        assert_eq!((repaired.repaired.len(), repaired.lost.len()), (1, n_lost), "{repaired:?}");
        assert_repaired(&store, &whole, place);
        drop(store);
        assert_repaired(&Store::open(&copied, with_key(key)).unwrap(), &whole, place);
    }
    assert!(hits.iter().all(|&hits| hits > 30 / thinning), "{hits:?}");
    // Two modes: more than two thousand.
    assert!(hits.iter().sum::<usize>() > 1_100 / thinning);
}

fn mutation(bytes: &[u8], other: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..9) {
        0..4 => {
            for _ in 0..rng.random_range(1..4) {
                let bit = rng.random_range(0..8 * bytes.len());
                changed[bit / 8] ^= 1 << (bit % 8);
            }
        }
        4 => changed.truncate(at),
        5 => drop(changed.remove(at)),
        6 => changed.insert(at, rng.random()),
        7 => changed[at..].fill(0),
        _ => changed = other.to_vec(),
    }
    changed
}

/// The store says which file is damaged, and shows nothing else than before of all others.
fn assert_names(store: &Store, path: &Path, whole: &View) {
    let damaged = store.verify().unwrap().damaged;
    assert_eq!(damaged.iter().map(|damage| damage.path.as_path()).collect::<Vec<_>>(), [path]);
    assert_eq!(texts(store), whole.examples);
    let is_named = |error: Error| matches!(error, Error::Corrupted { path: named, .. } | Error::WrongKey { path: named } if named == path);
    match store.current() {
        Ok(current) => assert_eq!(current, whole.current),
        Err(error) => assert!(is_named(error)),
    }
    for (index, (id, ..)) in whole.grafts.iter().enumerate() {
        match store.graft(*id) {
            Ok(graft) => assert_eq!(graft.adapter, whole.adapters[index]),
            Err(error) => assert!(is_named(error)),
        }
    }
    for (name, document) in ["session", "usage"].into_iter().zip(&whole.documents) {
        match store.read_document::<serde_json::Value>(name) {
            Ok(found) => assert_eq!(found, *document),
            Err(error) => assert!(is_named(error)),
        }
    }
    if let Ok(grafts) = store.grafts() {
        for (entry, (id, status, ..)) in grafts.iter().zip(&whole.grafts) {
            let expected = if store.graft_path(*id) == path { GraftStatus::Damaged } else { *status };
            assert_eq!((entry.id, entry.status), (*id, expected));
        }
    }
}

/// Only what was in the damaged file is lost.
fn assert_repaired(store: &Store, whole: &View, place: &Path) {
    assert!(store.verify().unwrap().is_valid());
    let now = view(store);
    let name = place.file_name().unwrap().to_str().unwrap();
    if place.starts_with("journal") {
        assert!(now.examples.iter().all(|example| whole.examples.contains(example)));
        let live: IdSet = now.examples.iter().map(|(id, _)| *id).collect();
        assert_eq!(now.deleted, IdSet::from_range(1, 6).difference(&live));
        assert_eq!((now.adapters, now.current), (whole.adapters.clone(), whole.current));
        return;
    }
    assert_eq!((&now.examples, &now.deleted), (&whole.examples, &whole.deleted));
    if place.starts_with("grafts") {
        let lost = graft_file::id_of(name).unwrap();
        let expected: Vec<_> = whole.grafts.iter().map(|graft| graft.0).filter(|&id| id != lost).collect();
        assert_eq!(now.grafts.iter().map(|graft| graft.0).collect::<Vec<_>>(), expected);
        assert_eq!(now.current, Some(GraftId(if lost == GraftId(2) { 1 } else { 2 })));
        return;
    }
    assert_eq!(now.adapters, whole.adapters);
    match name {
        "current.ngs" => assert_eq!(now.current, None),
        "session.ngs" => assert_eq!((&now.documents[0], now.checkpoints), (&None, 0)),
        "usage.ngs" => assert_eq!(now.documents[1], None),
        "step-00000004.ngck" => assert_eq!((now.checkpoints, &now.documents), (1, &whole.documents)),
        _ => {
            assert!(["store.ngs", "store.copy.ngs", "manifest.ngs"].contains(&name));
            assert_eq!(now, *whole);
        }
    }
}

#[test]
fn a_lost_header_loses_only_the_seed_of_a_plain_store() {
    let folder = folder();
    furnish(folder.path(), None);
    let whole = view(&open(folder.path()));
    fs::remove_file(folder.path().join("store.ngs")).unwrap();
    fs::remove_file(folder.path().join("store.copy.ngs")).unwrap();
    assert!(Store::open(folder.path(), with_key(None)).is_err());
    let mut store = Store::open(folder.path(), StoreOptions { damaged: true, ..with_key(None) }).unwrap();
    assert_eq!(store.repair().unwrap().lost.len(), 1);
    assert_eq!(view(&store), whole);
    drop(store);
    assert_eq!(view(&open(folder.path())), whole);
}

#[test]
fn a_graft_in_use_that_is_gone_is_noticed() {
    let folder = folder();
    furnish(folder.path(), None);
    fs::remove_file(folder.path().join("grafts/00000002.ngs")).unwrap();
    let mut store = open(folder.path());
    let damaged = store.verify().unwrap().damaged;
    assert_eq!(damaged[0].problem, FileProblem::MissingGraft(GraftId(2)), "{damaged:?}");
    assert_eq!(why_not(store.base()), StoreProblem::NoGraft(GraftId(2)));
    assert_eq!(store.rollback().unwrap(), Some(GraftId(1)));
    let damaged = store.verify().unwrap().damaged;
    assert!(damaged.len() == 1 && damaged[0].path.ends_with("grafts/00000002.ngs"), "{damaged:?}");
    assert_eq!(store.repair().unwrap().lost, ["graft 2"]);
    assert!(store.verify().unwrap().is_valid());
    drop(store);
    assert_eq!(open(folder.path()).current().unwrap(), Some(GraftId(1)));
}

#[test]
fn what_a_later_build_sealed_is_kept_and_named() {
    let folder = folder();
    furnish(folder.path(), None);
    let session = "session/session.ngs";
    let later = ["grafts/00000001.ngs", session, "session/step-00000004.ngck", "usage.ngs"];
    let kept: Vec<_> = later
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[8..12].copy_from_slice(&900u32.to_le_bytes());
            fs::write(&path, &bytes).unwrap();
            (path, bytes)
        })
        .collect();
    let damaged = folder.path().join("grafts/00000003.ngs");
    fs::write(&damaged, "nonsense").unwrap();
    let mut store = open(folder.path());
    let report = store.repair().unwrap();
    assert_eq!(report.repaired.iter().map(|damage| &damage.path).collect::<Vec<_>>(), [&damaged]);
    assert!(!damaged.exists());
    for _ in 0..2 {
        for (path, bytes) in &kept {
            let said = format!("nothing of {}", path.display());
            assert!(report.lost.iter().any(|lost| lost.starts_with(&said)), "{said}: {report:?}");
            assert_eq!(fs::read(path).unwrap(), *bytes);
        }
        drop(store);
        store = open(folder.path());
        let error = store.read_document::<serde_json::Value>("usage").unwrap_err();
        assert!(matches!(&error, Error::OtherBuild { path, .. } if path.ends_with("usage.ngs")), "{error}");
        assert_eq!(store.repair().unwrap().repaired, []);
    }
}
