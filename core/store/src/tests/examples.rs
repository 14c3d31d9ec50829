//! The journal.

use nightgraft_testing::{Failure, Fault, FaultyDisk, Operation};
use nightgraft_text::Error as TextError;
use nightgraft_text::data::{DataProblem, LineProblem, Unreadable};

use super::*;

/// The line and the problem of data that is refused.
fn bad_data(error: Error) -> (Option<usize>, DataProblem) {
    match error {
        Error::Text(TextError::Data { line, problem, .. }) => (line, problem),
        other => unreachable!("{other}"),
    }
}

#[test]
fn examples_keep_their_ids() {
    let folder = folder();
    let mut store = open(folder.path());
    assert_eq!(store.add(&lines(&["a", "b", "a"])).unwrap(), [1, 2, 1].map(ExampleId));
    assert_eq!(store.add(&lines(&["c", "b"])).unwrap(), [3, 2].map(ExampleId));
    assert_eq!(store.add(&[]).unwrap(), []);
    store.delete(&[ExampleId(3), ExampleId(1), ExampleId(77)]).unwrap();
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(texts(&store), [(2, line("b"))]);
    assert_eq!(*store.deleted(), set(&[1, 3]));
    // What was deleted is new when it comes again, and no number is given twice, also not the last.
    assert_eq!(store.add(&lines(&["c", "a"])).unwrap(), [4, 5].map(ExampleId));
    store.delete(&[2, 4, 5].map(ExampleId)).unwrap();
    store.compact().unwrap();
    drop(store);
    let mut store = open(folder.path());
    assert!(store.examples().is_empty());
    assert_eq!(store.add(&lines(&["d"])).unwrap(), [ExampleId(6)]);
    assert_eq!(*store.deleted(), IdSet::from_range(1, 5));
}

#[test]
fn a_call_adds_all_or_nothing() {
    let folder = folder();
    let mut store = open(folder.path());
    let mut bad = lines(&["fine", "fine too"]);
    bad.push("{\"txt\": \"a secret\"}".into());
    let error = store.add(&bad).unwrap_err();
    assert!(!error.to_string().contains("secret"));
    assert_eq!(bad_data(error), (Some(3), LineProblem::UnknownShape.into()));
    assert!(store.examples().is_empty());
    // Line ends between the parts of the JSON would make two lines of one.
    store.add(&["{\"text\":\r\n \"spread\\nout\"}\n".into()]).unwrap();
    assert_eq!(store.examples()[0].line, "{\"text\":   \"spread\\nout\"}");
    drop(store);
    assert_eq!(open(folder.path()).examples().len(), 1);
}

#[test]
fn many_small_additions_become_few_files() {
    let folder = folder();
    let mut store = open(folder.path());
    for n in 0..150 {
        store.add(&[line(&format!("number {n}"))]).unwrap();
    }
    let n_files = fs::read_dir(folder.path().join("journal")).unwrap().count();
    assert!(n_files < 64, "{n_files}");
    store.compact().unwrap();
    assert_eq!(fs::read_dir(folder.path().join("journal")).unwrap().count(), 1);
    let before = texts(&store);
    assert_eq!(before.len(), 150);
    drop(store);
    assert_eq!(texts(&open(folder.path())), before);
}

#[test]
fn a_covered_segment_is_what_a_crash_left() {
    let folder = folder();
    let disk = FaultyDisk::healthy();
    let mut store = Store::open_with(folder.path(), with_key(None), disk.clone()).unwrap();
    for text in ["a", "b", "canary"] {
        store.add(&lines(&[text])).unwrap();
    }
    let at_once = Fault { at: 0, only: Some(Operation::Remove), failure: Failure::Device, for_good: true };
    disk.set(Some(at_once));
    store.delete(&[ExampleId(1), ExampleId(3)]).unwrap_err();
    drop(store);
    assert_eq!(files_with(folder.path(), b"canary"), [folder.path().join("journal/00000003-00000003.ngs")]);
    assert_eq!(texts(&open(folder.path())), [(2, line("b"))]);
    assert!(files_with(folder.path(), b"canary").is_empty());
}

#[test]
fn a_missing_segment_is_noticed() {
    let folder = folder();
    let journal = folder.path().join("journal");
    let mut store = open(folder.path());
    for text in ["a", "b", "c"] {
        store.add(&lines(&[text])).unwrap();
    }
    drop(store);
    fs::remove_file(journal.join("00000002-00000002.ngs")).unwrap();
    let error = Store::open(folder.path(), with_key(None)).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupted { path, .. } if path.ends_with("00000002-00000002.ngs")),
        "{error}"
    );
    let mut store = Store::open(folder.path(), StoreOptions { damaged: true, ..with_key(None) }).unwrap();
    assert!(matches!(store.add(&lines(&["d"])), Err(Error::Corrupted { .. })));
    let report = store.repair().unwrap();
    assert!(report.lost[0].contains("at least 1; 2 are left"), "{report:?}");
    assert_eq!(texts(&store), [(1, line("a")), (3, line("c"))]);
    assert_eq!(store.add(&lines(&["d"])).unwrap(), [ExampleId(4)]);
    drop(store);
    assert_eq!(*open(folder.path()).deleted(), set(&[2]));
}

#[test]
fn files_are_imported_once() {
    let folder = folder();
    let root = folder.path().join("store");
    let (jsonl, txt) = (folder.path().join("chats.jsonl"), folder.path().join("notes.TXT"));
    fs::write(&jsonl, "\u{feff}{\"text\": \"a\"}\r\n\n{\"text\": \"b\"}\n{\"text\": \"a\"}").unwrap();
    fs::write(&txt, "\u{feff}first line\r\nsecond \"line\"\n").unwrap();
    let mut store = open(&root);
    let first = store.import(&jsonl, None, false).unwrap();
    assert_eq!((first.lines, first.added, first.known, first.skipped), (3, 2, 1, 0));
    assert_eq!(first.ids, [1, 2, 1].map(ExampleId));
    let again = store.import(&jsonl, None, false).unwrap();
    assert_eq!((again.added, again.known), (0, 3));
    store.import(&txt, None, false).unwrap();
    assert_eq!(store.examples()[2].line, r#"{"text":"first line\nsecond \"line\"\n"}"#);

    let mut bad = b"{\"text\": \"c\"}\n{\"text\": \"secret}\n\xff\xfe\n".to_vec();
    bad.extend(vec![b'x'; (16 << 20) + 100]);
    bad.extend(b"\n{\"text\": \"d\"}\n");
    fs::write(&jsonl, bad).unwrap();
    let error = store.import(&jsonl, None, false).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(bad_data(error), (Some(2), LineProblem::from(Unreadable::Beginning).into()));
    assert_eq!(store.examples().len(), 3);
    let report = store.import(&jsonl, None, true).unwrap();
    assert_eq!((report.lines, report.added, report.skipped), (5, 2, 3));
    let large = vec![b'x'; (16 << 20) + 1];
    let elsewhere = tempfile::tempdir().unwrap(); // below /dev, any name is that of a device
    for (name, content, problem) in [
        ("a.csv", &b"x"[..], DataProblem::UnknownKind),
        ("a.jsonl", b"\n\n", DataProblem::Empty),
        ("b.jsonl", b"nonsense", DataProblem::AllBad),
        ("c.txt", b" \n", DataProblem::Empty),
        ("d.txt", b"\xff", DataProblem::NotUtf8),
        ("e.txt", &large, DataProblem::ExampleTooLarge { limit: 16 << 20 }),
    ] {
        fs::write(elsewhere.path().join(name), content).unwrap();
        let error = store.import(&elsewhere.path().join(name), None, true).unwrap_err();
        assert_eq!(bad_data(error), (None, problem), "{name}");
    }
}

#[test]
fn a_session_that_learned_from_a_deleted_example_goes() {
    for (deleted, dropped) in [(1, false), (4, true), (6, true)] {
        let folder = folder();
        furnish(folder.path(), None);
        let mut store = open(folder.path());
        let report = store.delete(&[ExampleId(deleted)]).unwrap();
        assert_eq!(report.session_dropped, dropped, "{deleted}");
        let left = fs::read_dir(store.session_folder()).unwrap().count();
        assert_eq!(left, if dropped { 0 } else { 2 });
        assert!(store.read_document::<Vec<u8>>("usage").unwrap().is_some());
    }
}

#[test]
fn a_quota_refuses_before_anything_is_written() {
    let folder = folder();
    drop(open(folder.path()));
    let quota = StoreOptions { quota: Some(4_000), ..with_key(None) };
    let mut store = Store::open(folder.path(), quota).unwrap();
    store.add(&lines(&["small"])).unwrap();
    let error = store.add(&[line(&"large ".repeat(1_000))]).unwrap_err();
    assert!(matches!(error, Error::Quota { needed: 6_000.., quota: 4_000 }), "{error}");
    assert!(matches!(store.add_graft(new_graft(&[1], true), &adapter(1.0)), Err(Error::Quota { .. })));
    assert!(matches!(store.write_document("usage", &"x".repeat(5_000)), Err(Error::Quota { .. })));
    assert_eq!(texts(&store).len(), 1);
    assert!(store.bytes_used().unwrap() < 4_000);
    assert!(store.verify().unwrap().unknown.is_empty());
    store.delete(&[ExampleId(1)]).unwrap();
}
