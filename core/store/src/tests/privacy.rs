//! What is found by somebody who searches the files.

use super::*;

const CANARIES: [&str; 4] = ["canary-yellow", "canary-blue", "canary-green", "canary-red"];

#[test]
fn a_deleted_example_is_in_no_file() {
    let folder = folder();
    let mut store = open(folder.path());
    store.add(&lines(&["kept", CANARIES[0]])).unwrap();
    store.add(&lines(&[CANARIES[1]])).unwrap();
    store.add(&lines(&["kept too"])).unwrap();
    store.add(&lines(&[CANARIES[2], CANARIES[3]])).unwrap();
    for canary in CANARIES {
        assert_eq!(files_with(folder.path(), canary.as_bytes()).len(), 1);
    }
    // In one segment, then in several.
    store.delete(&[ExampleId(3)]).unwrap();
    store.delete(&[ExampleId(2), ExampleId(6)]).unwrap();
    for canary in [CANARIES[0], CANARIES[1], CANARIES[3]] {
        assert_eq!(files_with(folder.path(), canary.as_bytes()), [] as [PathBuf; 0], "{canary}");
    }
    assert_eq!(files_with(folder.path(), CANARIES[2].as_bytes()).len(), 1);
    store.compact().unwrap();
    store.delete(&[ExampleId(5)]).unwrap();
    assert_eq!(files_with(folder.path(), b"canary"), [] as [PathBuf; 0]);
    assert_eq!(files_with(folder.path(), b"kept").len(), 1);
    drop(store);
    assert_eq!(texts(&open(folder.path())), [(1, line("kept")), (4, line("kept too"))]);
}

#[test]
fn an_encrypted_store_shows_nothing() {
    for key_byte in [None, Some(5)] {
        let folder = folder();
        let mut store = Store::open(folder.path(), with_key(key_byte)).unwrap();
        store.add(&lines(&CANARIES)).unwrap();
        store.compact().unwrap();
        let number = 1.234_567_f32;
        let graft = NewGraft { settings: "# canary-settings".into(), ..new_graft(&[1], true) };
        let id = store.add_graft(graft, &adapter(number)).unwrap();
        store.promote(id).unwrap();
        store.write_document("session", &"canary-session").unwrap();
        store.write_document("usage", &"canary-usage").unwrap();
        let checkpoint = store.session_folder().join("step-00000001.ngck");
        store.vault().write(&checkpoint, crate::checkpoint::ROLE, b"canary-checkpoint").unwrap();
        let numbers: Vec<u8> = [number.to_le_bytes(); 3].concat();
        let is_found = |what: &[u8]| !files_with(folder.path(), what).is_empty();
        let search = || {
            let words: [&[u8]; 5] = [b"canary", b"\"text\"", b"attn_q", b"promote", b"train"];
            words
                .into_iter()
                .map(is_found)
                .chain([is_found(&numbers), is_found(&[5; 32])])
                .collect::<Vec<_>>()
        };
        // The search finds what is there to be found.
        let expected = key_byte.is_none();
        assert_eq!(search(), [vec![expected; 6], vec![false]].concat());
        if key_byte.is_some() {
            store.rotate_key(key(6)).unwrap();
            assert_eq!(search(), [false; 7]);
            assert!(!is_found(&[6; 32]));
        }
    }
}

#[test]
fn every_key_but_the_right_one_is_refused() {
    let folder = folder();
    let (plain, encrypted) = (folder.path().join("plain"), folder.path().join("encrypted"));
    furnish(&plain, None);
    furnish(&encrypted, Some(1));
    let refused = |root: &Path, key: Option<u8>| Store::open(root, with_key(key)).unwrap_err();
    assert!(matches!(refused(&encrypted, Some(2)), Error::WrongKey { .. }));
    assert!(matches!(refused(&encrypted, None), Error::NoKey { .. }));
    assert_eq!(why_not(Store::open(&plain, with_key(Some(1)))), StoreProblem::NeedlessKey);
    let damaged = StoreOptions { damaged: true, ..with_key(None) };
    assert!(Store::open(&encrypted, damaged).is_err());
    assert_eq!(why_not(open(&plain).rotate_key(key(3))), StoreProblem::NoKeyToChange);

    // A file of another store, of the same name and kind, is not taken for one of this.
    let other = folder.path().join("other");
    furnish(&other, Some(1));
    let name = "journal/00000001-00000001.ngs";
    fs::copy(other.join(name), encrypted.join(name)).unwrap();
    assert!(matches!(refused(&encrypted, Some(1)), Error::Corrupted { path, .. } if path.ends_with(name)));
}

#[test]
fn messages_show_no_text() {
    let folder = folder();
    let mut store = open(folder.path());
    store.write_document("notes", &"canary").unwrap();
    let error = store.read_document::<u64>("notes").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    let error = store.add(&["{\"text\": \"canary\", \"prompt\": 1}".into()]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    let key = Key::new(*b"canary-canary-canary-canary-cana");
    assert!(!format!("{:?}", StoreOptions { key: Some(key), ..StoreOptions::default() }).contains("cana"));
}
