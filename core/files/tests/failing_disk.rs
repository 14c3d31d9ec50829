//! A disk that fails in the midst of a write leaves the old file or the new one.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use nightgraft_files::atomic::write_file_in;
use nightgraft_files::file_system::FileSystem;
use nightgraft_testing::{Failure, Fault, FaultyDisk};

/// What `write_file_in` leaves on a disk with this fault: whether it reported success, and the content.
fn overwrite_on(disk: Arc<FaultyDisk>) -> (bool, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x");
    fs::write(&target, "old").unwrap();
    let disk: Arc<dyn FileSystem> = disk;
    let done = write_file_in(&disk, &target, b"the new one").is_ok();
    (done, fs::read(&target).unwrap())
}

#[test]
fn a_failing_disk_leaves_the_old_or_the_new() {
    let healthy = FaultyDisk::healthy();
    assert_eq!(overwrite_on(Arc::clone(&healthy)), (true, b"the new one".to_vec()));
    let operations = healthy.operations();
    // Whether there is a folder in the way, create, write, flush, rename, flush of the folder.
    assert_eq!(operations, 6);
    for at in 0..operations {
        let renamed = at == operations - 1;
        for failure in [Failure::NoSpace, Failure::Device, Failure::Short, Failure::PowerCut] {
            for for_good in [false, true] {
                let (done, content) =
                    overwrite_on(FaultyDisk::new(Fault { at, only: None, failure, for_good }));
                let expected: &[u8] = if renamed { b"the new one" } else { b"old" };
                assert_eq!((done, content.as_slice()), (false, expected), "{failure:?} at {at}");
            }
        }
    }
}

#[test]
fn a_disk_that_recovers_has_no_scratch_left() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..5 {
        let fault = Fault { at, only: None, failure: Failure::NoSpace, for_good: false };
        let disk: Arc<dyn FileSystem> = FaultyDisk::new(fault);
        write_file_in(&disk, &folder.path().join("x"), b"new").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
