//! Stores of other builds, and the header's two copies.

use std::sync::Arc;

use nightgraft_files::file_system::{FileSystem, system};
use nightgraft_testing::FaultyDisk;

use super::*;
use crate::vault::{Vault, wrap};

/// Makes the store in `root` what the build before manifests would have written.
fn age(root: &Path, key_byte: Option<u8>) {
    let store = Store::open(root, with_key(key_byte)).unwrap();
    let data_key = Key::new([42; 32]);
    let old = match key_byte {
        None => Vault::plain(system()),
        Some(_) => Vault::encrypted(system(), crate::vault::KeyRing::new(1, Key::new([42; 32]))),
    };
    for item in store.inventory().unwrap() {
        if let Some(role) = item.kind.role() {
            let content = store.vault().read(&item.path, role, 1 << 30).unwrap();
            old.write(&item.path, role, &content).unwrap();
        }
    }
    drop(store);
    for name in ["manifest.ngs", "store.copy.ngs"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    let keys = key_byte.map_or(String::new(), |byte| {
        let wrapped = wrap(&key(byte), &data_key, b"nightgraft data key, version 1").unwrap();
        let digits = base16ct::lower::encode_string(&wrapped);
        format!(r#"{{"id":1,"wrapped":"{digits}"}}"#)
    });
    let header = format!(r#"{{"version":1,"seed":7,"keys":[{keys}]}}"#);
    Vault::plain(system()).write(&root.join("store.ngs"), "store", header.as_bytes()).unwrap();
}

#[test]
fn a_store_of_the_first_version_goes_on_and_is_then_of_this_one() {
    for key_byte in [None, Some(1)] {
        let folder = folder();
        furnish(folder.path(), key_byte);
        let before = view(&Store::open(folder.path(), with_key(key_byte)).unwrap());
        age(folder.path(), key_byte);
        let header = fs::read(folder.path().join("store.ngs")).unwrap();
        let segment = folder.path().join("journal/00000001-00000001.ngs");
        let old_segment = fs::read(&segment).unwrap();

        let mut store = Store::open(folder.path(), with_key(key_byte)).unwrap();
        assert_eq!(view(&store), before);
        assert!(store.verify().unwrap().is_valid());
        store.delete(&[ExampleId(1)]).unwrap();
        let after = view(&store);
        drop(store);
        // Neither the header of the old version nor a file of that time passes any more.
        for (path, bytes) in [(folder.path().join("store.ngs"), header), (segment, old_segment)] {
            let now = fs::read(&path).ok();
            fs::write(&path, bytes).unwrap();
            let error = Store::open(folder.path(), with_key(key_byte)).unwrap_err();
            assert!(matches!(&error, Error::Inconsistent { path: named, .. } if *named == path), "{error}");
            match now {
                Some(now) => fs::write(&path, now).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
        }
        let mut store = Store::open(folder.path(), with_key(key_byte)).unwrap();
        assert_eq!(view(&store), after);
        if key_byte.is_some() {
            store.rotate_key(key(2)).unwrap();
            assert_eq!(view(&store), after);
        }
    }
}

#[test]
fn becoming_a_store_of_this_version_can_be_interrupted() {
    let folder = folder();
    for key_byte in [None, Some(1)] {
        let (original, root) = (folder.path().join(format!("{key_byte:?}")), folder.path().join("store"));
        furnish(&original, key_byte);
        let before = view(&Store::open(&original, with_key(key_byte)).unwrap());
        age(&original, key_byte);
        for make in [FaultyDisk::dead_after as fn(u64) -> Arc<FaultyDisk>, FaultyDisk::power_cut_after] {
            for at in (0..).step_by(thinning(23)) {
                let _ = fs::remove_dir_all(&root);
                copy(&original, &root);
                let disk = make(at);
                let result =
                    Store::open_with(&root, with_key(key_byte), Arc::clone(&disk) as Arc<dyn FileSystem>);
                let has_struck = disk.has_struck();
                drop(result);
                let store = Store::open(&root, with_key(key_byte)).unwrap();
                assert_eq!(view(&store), before, "operation {at}");
                assert!(store.verify().unwrap().is_valid() && store.verify().unwrap().unknown.is_empty());
                drop(store);
                if !has_struck {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_newer_version_is_refused_by_name_and_kept() {
    for key_byte in [None, Some(1)] {
        let folder = folder();
        furnish(folder.path(), key_byte);
        let newer = br#"{"version":3,"something":"else"}"#;
        for name in ["store.ngs", "store.copy.ngs"] {
            Vault::plain(system()).write(&folder.path().join(name), "store", newer).unwrap();
            let before: Vec<_> = files(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
            for damaged in [false, true] {
                let options = StoreOptions { damaged, ..with_key(key_byte) };
                let problem = why_not(Store::open(folder.path(), options));
                assert_eq!(problem, StoreProblem::OtherLayout { found: 3, known: 2 });
            }
            let after: Vec<_> = files(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
            assert!(before == after);
        }
    }
}

/// Earlier builds know these three fields only, and look at the version first.
#[test]
fn earlier_builds_can_read_the_version() {
    let folder = folder();
    furnish(folder.path(), Some(1));
    let plain = Vault::plain(system());
    for name in ["store.ngs", "store.copy.ngs"] {
        let path = folder.path().join(name);
        assert_eq!(fs::read(&path).unwrap()[8..12], 1_u32.to_le_bytes(), "the first format of sealed files");
        let json: serde_json::Value =
            serde_json::from_slice(&plain.read(&path, "store", 1 << 16).unwrap()).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!((keys, &json["version"]), (vec!["keys", "seed", "version"], &2.into()));
        let mut keys: Vec<_> = json["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["id", "wrapped"]);
    }
}

#[test]
fn either_copy_of_the_header_is_enough() {
    for key_byte in [None, Some(1)] {
        for name in ["store.ngs", "store.copy.ngs"] {
            for lose in [
                |path: &Path| fs::remove_file(path).unwrap(),
                |path: &Path| fs::write(path, "ruined").unwrap(),
                |path: &Path| fs::write(path, "").unwrap(),
            ] {
                let folder = folder();
                furnish(folder.path(), key_byte);
                let whole = view(&Store::open(folder.path(), with_key(key_byte)).unwrap());
                let path = folder.path().join(name);
                lose(&path);
                let no = StoreOptions { create: false, ..with_key(key_byte) };
                let mut store = Store::open(folder.path(), no).unwrap();
                assert_eq!(view(&store), whole);
                let damaged = store.verify().unwrap().damaged;
                assert_eq!(damaged.iter().map(|damage| &damage.path).collect::<Vec<_>>(), [&path]);
                assert_eq!(store.repair().unwrap().lost, [] as [String; 0]);
                assert!(store.verify().unwrap().is_valid());
                drop(store);
                assert_eq!(view(&Store::open(folder.path(), with_key(key_byte)).unwrap()), whole);
            }
        }
    }
}

#[test]
fn nothing_in_a_header_can_be_exchanged() {
    let folder = folder();
    furnish(folder.path(), Some(1));
    let plain = Vault::plain(system());
    let json =
        String::from_utf8(plain.read(&folder.path().join("store.ngs"), "store", 1 << 16).unwrap()).unwrap();
    for (from, to) in
        [("\"seed\":7", "\"seed\":8"), ("\"id\":1", "\"id\":2"), ("\"version\":2", "\"version\":1")]
    {
        let changed = json.replace(from, to);
        assert_ne!(changed, json);
        for name in ["store.ngs", "store.copy.ngs"] {
            plain.write(&folder.path().join(name), "store", changed.as_bytes()).unwrap();
        }
        let error = Store::open(folder.path(), with_key(Some(1))).unwrap_err();
        assert!(matches!(error, Error::WrongKey { .. }), "{to}: {error}");
    }
}
