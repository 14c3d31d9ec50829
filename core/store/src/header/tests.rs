//! What a header says, which of two copies counts, and which keys open it.

#![allow(clippy::unwrap_used)]
use nightgraft_files::file_system;

use super::*;

fn write(header: &StoreHeader, plain: &Vault, root: &Path) {
    plain.put(header.writers(plain, root).unwrap(), &[]).unwrap();
}

fn read(plain: &Vault, root: &Path) -> Result<Option<StoreHeader>> {
    Ok(StoreHeader::read(plain, root)?.map(|found| found.header))
}

#[test]
fn it_says_what_it_said_and_refuses_other_versions() {
    let folder = nightgraft_testing::folder();
    let plain = Vault::plain(file_system::system());
    assert_eq!(read(&plain, folder.path()).unwrap(), None);
    let header = StoreHeader::new(Some(u64::MAX), None, folder.path()).unwrap();
    let json = serde_json::to_string(&header).unwrap();
    assert_eq!(json, r#"{"version":2,"seed":18446744073709551615,"keys":[]}"#);
    write(&header, &plain, folder.path());
    assert_eq!(read(&plain, folder.path()).unwrap(), Some(header));
    let put = |text: String| {
        for path in [path(folder.path()), copy_path(folder.path())] {
            plain.write(&path, ROLE, text.as_bytes()).unwrap();
        }
        read(&plain, folder.path()).unwrap_err()
    };
    for found in [3, 0] {
        let problem = StoreProblem::OtherLayout { found, known: 2 };
        let error = put(json.replace(":2,", &format!(":{found},")));
        assert!(matches!(&error, Error::Refused { problem: why, .. } if *why == problem), "{error}");
    }
    let category = serde_json::error::Category::Data;
    let twice = r#"[{"id":2,"wrapped":""},{"id":2,"wrapped":""}]"#;
    for (text, problem) in [
        (json.replace("seed", "sead"), FileProblem::Content { category, column: Some(19) }),
        (json.replace("[]", twice), FileProblem::Keys),
    ] {
        let error = put(text);
        assert!(matches!(&error, Error::Corrupted { problem: why, .. } if *why == problem), "{error}");
    }
}

#[test]
fn the_newer_copy_counts() {
    let folder = nightgraft_testing::folder();
    let root = folder.path();
    let plain = Vault::plain(file_system::system());
    let (old, new) = (Key::new([1; 32]), Key::new([2; 32]));
    let first = StoreHeader::new(Some(1), Some(&old), root).unwrap();
    let both = first.with_another_key(&old, &new, root).unwrap();
    let last = both.without_old_key(&new, root).unwrap();
    for (older, newer) in [(&first, &both), (&both, &last), (&first, &last)] {
        for stale in [path(root), copy_path(root)] {
            write(newer, &plain, root);
            plain.write(&stale, ROLE, &serde_json::to_vec(older).unwrap()).unwrap();
            let found = StoreHeader::read(&plain, root).unwrap().unwrap();
            assert_eq!((&found.header, found.older.as_ref()), (newer, Some(older)));
            assert_ne!(found.place, stale);
        }
    }
}

#[test]
fn a_rotation_shuts_the_old_key_out_at_once() {
    let folder = Path::new("store");
    let plain = Vault::plain(file_system::system());
    let (old, new) = (Key::new([1; 32]), Key::new([2; 32]));
    let header = StoreHeader::new(Some(1), Some(&old), folder).unwrap();
    assert_eq!((header.current_key_id(), header.is_rotating()), (Some(1), false));
    assert!(matches!(header.with_another_key(&new, &old, folder), Err(Error::WrongKey { .. })));
    let both = header.with_another_key(&old, &new, folder).unwrap();
    assert_eq!((both.current_key_id(), both.is_rotating()), (Some(2), true));
    let after = both.without_old_key(&new, folder).unwrap();
    assert_eq!((after.current_key_id(), after.is_rotating()), (Some(2), false));
    for header in [&both, &after] {
        header.vault(&plain, Some(&new), folder).unwrap();
        assert!(matches!(header.vault(&plain, Some(&old), folder), Err(Error::WrongKey { .. })));
        assert!(matches!(header.vault(&plain, None, folder), Err(Error::NoKey { .. })));
    }
    let mut torn = after;
    torn.keys[0].wrapped.pop();
    assert!(matches!(torn.vault(&plain, Some(&new), folder), Err(Error::WrongKey { .. })));
    let unencrypted = StoreHeader::new(Some(1), None, folder).unwrap();
    assert!(matches!(
        unencrypted.with_another_key(&old, &new, folder),
        Err(Error::Refused { problem: StoreProblem::NotOneKey, .. })
    ));
}
