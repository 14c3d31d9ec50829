//! Reading beside the one who writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

#[test]
fn a_reader_has_the_examples_of_its_moment_and_all_else_as_it_is_now() {
    for byte in [None, Some(5)] {
        let folder = folder();
        furnish(folder.path(), byte);
        let mut store = Store::open(folder.path(), with_key(byte)).unwrap();
        let (reader, before) = (store.reader(), texts(&store));
        let written = store.vault().bytes_written();
        assert_eq!(reader.grafts().unwrap(), store.grafts().unwrap());
        assert_eq!(reader.current_graft().unwrap(), Some(store.graft(GraftId(2)).unwrap()));
        assert_eq!(reader.bytes_used().unwrap(), store.bytes_used().unwrap());
        assert_eq!(reader.read_document::<Vec<u8>>("usage").unwrap(), Some(vec![1, 2, 3]));
        assert_eq!(reader.verify().unwrap(), store.verify().unwrap());
        assert_eq!(store.vault().bytes_written(), written);

        store.add(&lines(&["seven kites"])).unwrap();
        store.delete(&[ExampleId(1)]).unwrap();
        store.rollback().unwrap();
        store.delete_graft(GraftId(2)).unwrap();
        store.write_document("usage", &vec![4]).unwrap();
        let read: Vec<_> =
            reader.examples().iter().map(|example| (example.id.0, example.line.clone())).collect();
        assert_eq!((read, texts(&store).len()), (before, 5));
        assert_eq!(reader.current().unwrap(), Some(GraftId(1)));
        let grafts: Vec<_> = reader.grafts().unwrap().into_iter().map(|entry| entry.id.0).collect();
        assert_eq!(grafts, [1, 3]);
        assert_eq!(why_not(reader.graft(GraftId(2))), StoreProblem::NoGraft(GraftId(2)));
        assert_eq!(reader.read_document::<Vec<u8>>("usage").unwrap(), Some(vec![4]));
        // The folder is free as soon as the store itself is closed.
        drop(store);
        Store::open(folder.path(), with_key(byte)).unwrap();
    }
}

#[test]
fn what_is_read_of_grafts_is_of_one_moment_while_they_come_and_go() {
    const GRAFTS: u64 = 60;
    let folder = folder();
    let options = StoreOptions { keep: 1, ..with_key(None) };
    let mut store = Store::open(folder.path(), options).unwrap();
    let reader = store.reader();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut last = 0;
            while !is_over.load(Ordering::SeqCst) {
                let read = reader.grafts().unwrap();
                let current: Vec<_> =
                    read.iter().filter(|entry| entry.status == GraftStatus::Current).collect();
                assert!(current.len() <= 1 && read.iter().all(|entry| entry.problem.is_none()), "{read:?}");
                // Whatever was in use before is a former one as soon as its successor is in use.
                assert_eq!(current.is_empty(), read.iter().all(|e| e.status == GraftStatus::Candidate));
                let used = reader.current_graft().unwrap().map_or(0, |graft| graft.meta.id.0);
                assert!(current.last().is_none_or(|entry| entry.id.0 <= used) && last <= used);
                last = used;
            }
        });
        for _ in 0..GRAFTS {
            let id = store.add_graft(new_graft(&[1], true), &adapter(0.5)).unwrap();
            store.promote(id).unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
        reading.join().unwrap();
    });
    assert_eq!(reader.current().unwrap(), Some(GraftId(GRAFTS)));
}
