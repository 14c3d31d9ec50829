//! Headers of other stores and of other times in the place of a store's own.

use super::*;
use crate::Inconsistency;

const KEY: Option<u8> = Some(1);
const HEADERS: [&str; 2] = ["store.ngs", "store.copy.ngs"];

fn snapshot(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let kept = files(root).into_iter().filter(|path| !path.ends_with(".lock"));
    kept.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn damaged(root: &Path, key: Option<u8>) -> crate::Result<Store> {
    Store::open(root, StoreOptions { damaged: true, create: false, ..with_key(key) })
}

/// Two furnished stores under the same app key; the key of the `foreign` one was changed `rotations` times.
fn two_stores(folder: &Path, rotations: usize) -> (PathBuf, PathBuf) {
    let (own, foreign) = (folder.join("own"), folder.join("foreign"));
    furnish(&own, KEY);
    furnish(&foreign, KEY);
    let mut store = Store::open(&foreign, with_key(KEY)).unwrap();
    for _ in 0..rotations {
        store.rotate_key(key(1)).unwrap();
    }
    (own, foreign)
}

fn bring(names: &[&str], from: &Path, to: &Path) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn looking_at_a_store_with_a_foreign_header_writes_nothing() {
    for rotations in [0, 1] {
        let folder = folder();
        let (own, foreign) = two_stores(folder.path(), rotations);
        // A segment that another one covers, as a crash leaves it.
        let mut store = Store::open(&own, with_key(KEY)).unwrap();
        store.compact().unwrap();
        drop(store);
        let covered = own.join("journal/00000001-00000001.ngs");
        fs::write(covered, b"covered").unwrap();
        let whole = folder.path().join("whole");
        copy(&own, &whole);
        for headers in [&HEADERS[..1], &HEADERS[1..], &HEADERS[..]] {
            for manifest in ["sound", "damaged", "missing", "foreign"] {
                let _ = fs::remove_dir_all(&own);
                copy(&whole, &own);
                bring(headers, &foreign, &own);
                match manifest {
                    "damaged" => flip(&own.join("manifest.ngs")),
                    "missing" => fs::remove_file(own.join("manifest.ngs")).unwrap(),
                    "foreign" => bring(&["manifest.ngs"], &foreign, &own),
                    _ => {}
                }
                let before = snapshot(&own);
                let store = damaged(&own, KEY).unwrap();
                assert!(!store.verify().unwrap().is_valid());
                drop(store);
                assert!(snapshot(&own) == before, "{headers:?}, manifest {manifest}");
            }
        }
    }
}

#[test]
fn a_header_copy_of_another_store_is_told_from_the_own_one() {
    let other_key = |root: &Path| Store::open(root, with_key(KEY)).unwrap().rotate_key(key(9)).unwrap();
    for (rotations, is_of_other_key) in [(0, false), (1, false), (1, true)] {
        for name in HEADERS {
            let folder = folder();
            let (own, foreign) = two_stores(folder.path(), rotations);
            if is_of_other_key {
                other_key(&foreign);
            }
            let whole = view(&Store::open(&own, with_key(KEY)).unwrap());
            bring(&[name], &foreign, &own);
            let odd = own.join(name);
            let error = Store::open(&own, with_key(KEY)).unwrap_err();
            assert!(
                matches!(&error, Error::Inconsistent { path, why: Inconsistency::Earlier } if *path == odd),
                "{error}"
            );
            let mut store = damaged(&own, KEY).unwrap();
            let report = store.verify().unwrap();
            let named: Vec<_> = report.damaged.iter().map(|damage| &damage.path).collect();
            assert_eq!(named, [&odd]);
            let repaired = store.repair().unwrap();
            assert_eq!((repaired.repaired.len(), repaired.lost.len()), (1, 0), "{repaired:?}");
            assert!(store.verify().unwrap().is_valid());
            drop(store);
            let store = Store::open(&own, with_key(KEY)).unwrap();
            assert!(store.verify().unwrap().is_valid());
            assert_eq!(view(&store), whole);
        }
    }
}

/// The files that open tell as well.
#[test]
fn the_own_header_is_found_without_the_manifest() {
    for rotations in [0, 1] {
        for name in HEADERS {
            let folder = folder();
            let (own, foreign) = two_stores(folder.path(), rotations);
            let whole = view(&Store::open(&own, with_key(KEY)).unwrap());
            bring(&[name], &foreign, &own);
            flip(&own.join("manifest.ngs"));
            damaged(&own, KEY).unwrap().repair().unwrap();
            assert_eq!(view(&Store::open(&own, with_key(KEY)).unwrap()), whole);
        }
    }
}

#[test]
fn a_header_that_opens_nothing_repairs_nothing() {
    for rotations in [0, 1] {
        for manifest in ["sound", "damaged", "missing"] {
            let folder = folder();
            let (own, foreign) = two_stores(folder.path(), rotations);
            let whole = view(&Store::open(&own, with_key(KEY)).unwrap());
            let headers = folder.path().join("headers");
            fs::create_dir(&headers).unwrap();
            bring(&HEADERS, &own, &headers);
            let kept = fs::read(own.join("manifest.ngs")).unwrap();
            bring(&HEADERS, &foreign, &own);
            match manifest {
                "damaged" => flip(&own.join("manifest.ngs")),
                "missing" => fs::remove_file(own.join("manifest.ngs")).unwrap(),
                _ => {}
            }
            let before = snapshot(&own);
            Store::open(&own, with_key(KEY)).unwrap_err();
            let mut store = damaged(&own, KEY).unwrap();
            assert_eq!(why_not(store.repair()), StoreProblem::WrongHeader);
            assert!(store.add(&lines(&["meanwhile"])).is_err());
            drop(store);
            assert!(snapshot(&own) == before);
            bring(&HEADERS, &headers, &own);
            fs::write(own.join("manifest.ngs"), kept).unwrap();
            assert_eq!(view(&Store::open(&own, with_key(KEY)).unwrap()), whole);
        }
    }
}

#[test]
fn a_backup_from_before_a_change_of_the_key_survives_one_newer_header() {
    for name in HEADERS {
        let folder = folder();
        let (backup, root) = (folder.path().join("backup"), folder.path().join("store"));
        furnish(&root, KEY);
        let whole = view(&Store::open(&root, with_key(KEY)).unwrap());
        copy(&root, &backup);
        Store::open(&root, with_key(KEY)).unwrap().rotate_key(key(2)).unwrap();
        let newer = fs::read(root.join(name)).unwrap();
        fs::remove_dir_all(&root).unwrap();
        copy(&backup, &root);
        fs::write(root.join(name), newer).unwrap();

        let before = snapshot(&root);
        Store::open(&root, with_key(Some(2))).unwrap_err();
        damaged(&root, Some(2)).unwrap().repair().unwrap_err();
        assert!(matches!(damaged(&root, Some(3)), Err(Error::WrongKey { .. })));
        assert!(snapshot(&root) == before);

        assert!(
            matches!(Store::open(&root, with_key(KEY)), Err(Error::Inconsistent { path, .. }) if path.ends_with(name))
        );
        assert_eq!(damaged(&root, KEY).unwrap().repair().unwrap().lost, [] as [String; 0]);
        assert_eq!(view(&Store::open(&root, with_key(KEY)).unwrap()), whole);
    }
}

/// Neither a lock nor a folder, nor is anything swept away.
#[test]
fn a_folder_of_somebody_else_is_refused_untouched() {
    for (name, text) in
        [("notes.txt", "water the plants"), ("store.ngs", "another program's"), ("store.copy.ngs", "")]
    {
        let folder = folder();
        let root = folder.path();
        fs::write(root.join(name), text).unwrap();
        fs::write(root.join(".download-1-1.ngtmp"), "half").unwrap();
        for options in [with_key(None), with_key(KEY)] {
            Store::open(root, options).unwrap_err();
            let left: Vec<_> =
                files(root).iter().map(|path| path.strip_prefix(root).unwrap().to_owned()).collect();
            assert_eq!(left, [Path::new(".download-1-1.ngtmp"), Path::new(name)], "{name}");
        }
    }
    let parent = folder();
    let root = parent.path().join("new");
    fs::create_dir(&root).unwrap();
    fs::write(root.join(".store.ngs.1-1.ngtmp"), "half a header").unwrap();
    open(&root);
    assert!(files(&root).iter().all(|path| !nightgraft_files::atomic::is_scratch(path.file_name().unwrap())));
}
