//! Faults of all kinds, each in a process of its own: the right end of some of them is the end of the process.

#![allow(clippy::unwrap_used)]

use std::ffi::{c_int, c_void};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::{Error, FileChange, MappedFile, SharedFile, faults};

const LEN: usize = 1 << 20;
/// Names the case for a process that is to be one.
const CASE: &str = "NIGHTGRAFT_TEST_FAULT";
/// The exit code of a handler of somebody else's.
const CAUGHT: c_int = 42;

/// Runs one of the cases below, in the test that starts them.
#[test]
fn case() {
    let Ok(case) = std::env::var(CASE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    std::fs::write(&path, vec![7; LEN]).unwrap();
    match case.as_str() {
        "ours" => ours(&path),
        "another mapping of our file" => another_mapping_of_our_file(&path),
        "threads" => threads(&path),
        "foreign" => foreign(&path),
        "foreign, with a handler" => {
            handle(caught as *const () as usize, libc::SA_SIGINFO);
            foreign(&path);
        }
        "foreign, with a plain handler" => {
            handle(plainly_caught as *const () as usize, 0);
            foreign(&path);
        }
        "foreign, ignored" => {
            handle(libc::SIG_IGN, 0);
            foreign(&path);
        }
        "sent, ignored" => {
            handle(libc::SIG_IGN, 0);
            let _mapped = MappedFile::open(&path).unwrap();
            // SAFETY: it sends a signal to this thread.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        "foreign, by default" => {
            handle(libc::SIG_DFL, 0);
            foreign(&path);
        }
        "sent, by default" => {
            handle(libc::SIG_DFL, 0);
            let _mapped = MappedFile::open(&path).unwrap();
            // SAFETY: it sends a signal to this thread.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        "left alone" => {
            faults::leave_signals_alone();
            let mapped = MappedFile::open(&path).unwrap();
            cut(&path, 4096);
            std::hint::black_box(mapped[LEN - 1]);
        }
        "another mapping that nobody told of" => {
            let _mapped = MappedFile::open(&path).unwrap();
            let other = map(&path);
            cut(&path, 4096);
            read(other, LEN - 1);
        }
        "gone again" => {
            drop(MappedFile::open(&path).unwrap());
            foreign(&path);
        }
        other => unreachable!("{other}"),
    }
    // SAFETY: nothing is left to do; the test runner would print its report.
    unsafe { libc::_exit(0) };
}

fn run(case: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::tests::case", "--nocapture"]).env(CASE, case);
    command.output().unwrap().status
}

#[test]
fn a_fault_in_a_mapping_of_ours_is_a_flag_and_zeros() {
    for case in ["ours", "another mapping of our file", "threads"] {
        assert_eq!(run(case).code(), Some(0), "{case}");
    }
}

#[test]
fn other_faults_end_where_they_would_without_us() {
    let cases = [
        "foreign",
        "foreign, by default",
        "foreign, ignored",
        "sent, by default",
        "left alone",
        "another mapping that nobody told of",
        "gone again",
    ];
    for case in cases {
        assert_eq!(run(case).signal(), Some(libc::SIGBUS), "{case}");
    }
    for case in ["foreign, with a handler", "foreign, with a plain handler"] {
        assert_eq!(run(case).code(), Some(CAUGHT), "{case}");
    }
    assert_eq!(run("sent, ignored").code(), Some(0));
}

fn ours(path: &Path) {
    let mapped = MappedFile::open(path).unwrap();
    let other = MappedFile::open(path).unwrap();
    assert_eq!(mapped[LEN - 1], 7);
    cut(path, 8192);
    // SAFETY: the number of this thread's last error.
    unsafe { *libc::__errno_location() = 77 };
    assert!(mapped[8192..].iter().all(|&byte| byte == 0));
    // SAFETY: as above.
    assert_eq!(unsafe { *libc::__errno_location() }, 77);
    assert!(matches!(
        mapped.check(),
        Err(Error::FileChanged { change: FileChange::Length { is: 8192, .. }, .. })
    ));
    // Also if the file is put back: the zeros are still there.
    put_back(path, &mapped);
    assert!(matches!(mapped.check(), Err(Error::FileChanged { change: FileChange::Unreadable, .. })));
    assert!(other.check().is_ok(), "nothing of this one was read meanwhile");
}

/// As llama.cpp makes one.
fn another_mapping_of_our_file(path: &Path) {
    let mapped = Arc::new(MappedFile::open(path).unwrap());
    let shared = SharedFile::new(&mapped);
    let other = map(path);
    // A part of it is given back, as llama.cpp does with what is none of a tensor's.
    // SAFETY: the first page of a mapping of ours, which is not read again.
    unsafe { libc::munmap(other.cast(), 4096) };
    cut(path, 4096);
    for i in [LEN - 1, LEN / 2, 4096] {
        assert_eq!(read(other, i), 0);
    }
    put_back(path, &mapped);
    assert!(matches!(shared.check(), Err(Error::FileChanged { change: FileChange::Unreadable, .. })));
    assert!(mapped.check().is_ok());
}

fn threads(path: &Path) {
    let mapped = MappedFile::open(path).unwrap();
    cut(path, 1);
    std::thread::scope(|scope| {
        for i in 0..16 {
            let mapped = &mapped;
            scope.spawn(move || {
                let sum: u64 = mapped.iter().skip(4096 * (i + 1)).map(|&byte| u64::from(byte)).sum();
                assert_eq!(sum, 0);
            });
        }
    });
    assert!(mapped.check().is_err());
}

/// A fault in a mapping of a file that is none of ours.
fn foreign(path: &Path) {
    let _ours = MappedFile::open(path).unwrap();
    let other = path.with_extension("other");
    std::fs::write(&other, vec![7; LEN]).unwrap();
    let mapping = map(&other);
    cut(&other, 4096);
    read(mapping, LEN - 1);
}

/// A mapping of somebody else's.
fn map(path: &Path) -> *mut u8 {
    let file = File::open(path).unwrap();
    let (access, kind) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping of an open file.
    let start = unsafe { libc::mmap(ptr::null_mut(), LEN, access, kind, file.as_raw_fd(), 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start.cast()
}

fn read(mapping: *mut u8, i: usize) -> u8 {
    // SAFETY: inside the mapping; what a fault there does is what is tested.
    unsafe { mapping.add(i).read_volatile() }
}

/// Its length and time are those of before.
fn put_back(path: &Path, mapped: &MappedFile) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(LEN as u64).unwrap();
    let modified = Duration::from_nanos(mapped.stamp().modified_ns.try_into().unwrap());
    file.set_modified(UNIX_EPOCH + modified).unwrap();
}

fn cut(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn handle(handler: libc::sighandler_t, flags: c_int) {
    // SAFETY: a handler of the type that the flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        assert_eq!(libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()), 0);
    }
}

unsafe extern "C" fn caught(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: what the system passes to a handler.
    let as_it_was =
        unsafe { !context.is_null() && (*info).si_signo == signal && !(*info).si_addr().is_null() };
    // SAFETY: allowed in a handler.
    unsafe { libc::_exit(if as_it_was { CAUGHT } else { 1 }) };
}

unsafe extern "C" fn plainly_caught(_: c_int) {
    // SAFETY: allowed in a handler.
    unsafe { libc::_exit(CAUGHT) };
}
