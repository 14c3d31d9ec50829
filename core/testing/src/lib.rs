//! A disk that fails when a test wants it to, and what else tests share. Nothing here is part of the engine.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nightgraft_files::file_system::{Entry, FileSystem, Mode, System, WriteHandle};
use tempfile::TempDir;

/// A folder for a test that writes and flushes many files, in memory where the system can.
///
/// # Panics
/// If no folder can be made.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("tests can write")
}

/// Leaves out most of the cases of a test that tries very many, if `cargo fast` asks for it: `n` of them become one.
pub fn thinning(n: usize) -> usize {
    if std::env::var_os("NIGHTGRAFT_FAST_TESTS").is_some() { n } else { 1 }
}

/// What can be asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a file.
    Create,
    /// Writing to one.
    Write,
    /// Flushing one.
    Sync,
    /// Opening one to read.
    Open,
    /// Reading from one.
    Read,
    /// Giving another name.
    Rename,
    /// Removing a file or folder.
    Remove,
    /// Making a folder.
    CreateDir,
    /// Flushing a folder.
    SyncDir,
    /// Listing a folder.
    List,
    /// Asking what is there.
    Metadata,
    /// Asking how much room is left.
    Available,
    /// Taking permissions from others.
    MakePrivate,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no space left; nothing is done.
    NoSpace,
    /// The device has an error; nothing is done.
    Device,
    /// As no space left, but a write has written its first half.
    Short,
    /// The current fails: files that were not flushed lose their content, and nothing works any more.
    PowerCut,
}

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operation fails, counted from 0 among those of `only`.
    pub at: u64,
    /// The kind of operation that counts; all of them if `None`.
    pub only: Option<Operation>,
    /// What happens to it.
    pub failure: Failure,
    /// Whether everything that follows fails too, as it does for a process that was killed and on a dead disk.
    pub for_good: bool,
}

/// The real disk, except for one [`Fault`]. Counts operations, so that a test can try each of them in turn.
#[derive(Debug, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<FaultState>>,
}

#[derive(Debug, Default)]
struct FaultState {
    fault: Option<Fault>,
    /// Operations of the kind that the fault is about.
    counted: u64,
    /// All operations, those that failed included.
    operations: u64,
    struck: bool,
    /// Files with content that only the system's memory has.
    unflushed: BTreeSet<PathBuf>,
}

impl FaultyDisk {
    /// A disk without a fault.
    pub fn healthy() -> Arc<Self> {
        Arc::default()
    }

    /// A disk with a fault.
    pub fn new(fault: Fault) -> Arc<Self> {
        let disk = Self::healthy();
        disk.set(Some(fault));
        disk
    }

    /// A disk that fails its `at`-th operation and all that follow, as if the process had been killed there.
    pub fn dead_after(at: u64) -> Arc<Self> {
        Self::new(Fault { at, only: None, failure: Failure::Short, for_good: true })
    }

    /// A disk without current from its `at`-th operation on.
    pub fn power_cut_after(at: u64) -> Arc<Self> {
        Self::new(Fault { at, only: None, failure: Failure::PowerCut, for_good: true })
    }

    /// Another fault from here on; the count begins anew. `None` repairs the disk.
    pub fn set(&self, fault: Option<Fault>) {
        *self.lock() = FaultState { fault, ..FaultState::default() };
    }

    /// Operations since the last fault was set.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Whether the fault came to pass.
    pub fn has_struck(&self) -> bool {
        self.lock().struck
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        lock(&self.state)
    }

    fn attempt(&self, operation: Operation) -> io::Result<()> {
        attempt(&self.state, operation).map_err(error_of)
    }
}

fn lock(state: &Mutex<FaultState>) -> MutexGuard<'_, FaultState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts an operation, and says how it is to fail.
fn attempt(state: &Mutex<FaultState>, operation: Operation) -> Result<(), Failure> {
    let mut state = lock(state);
    state.operations += 1;
    let Some(fault) = state.fault else { return Ok(()) };
    if state.struck && fault.for_good {
        return Err(fault.failure);
    }
    if fault.only.is_some_and(|only| only != operation) {
        return Ok(());
    }
    state.counted += 1;
    if state.counted - 1 == fault.at {
        state.struck = true;
        if fault.failure == Failure::PowerCut {
            for path in std::mem::take(&mut state.unflushed) {
                // It may have been removed meanwhile.
                let _ = fs::OpenOptions::new().write(true).truncate(true).open(path);
            }
        }
        return Err(fault.failure);
    }
    Ok(())
}

fn error_of(failure: Failure) -> io::Error {
    match failure {
        Failure::NoSpace | Failure::Short => io::ErrorKind::StorageFull.into(),
        Failure::Device | Failure::PowerCut => io::Error::other("the device has an error"),
    }
}

impl FileSystem for FaultyDisk {
    fn create_new(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WriteHandle>> {
        self.attempt(Operation::Create)?;
        let file = System.create_new(path, mode)?;
        self.lock().unflushed.insert(path.to_owned());
        Ok(Box::new(Handle { file, path: path.to_owned(), state: Arc::clone(&self.state) }))
    }

    fn make_private(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::MakePrivate)?;
        System.make_private(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.attempt(Operation::Open)?;
        Ok(Box::new(Handle {
            file: System.open(path)?,
            path: path.to_owned(),
            state: Arc::clone(&self.state),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.attempt(Operation::Rename)?;
        System.rename(from, to)?;
        let mut state = self.lock();
        if state.unflushed.remove(from) {
            state.unflushed.insert(to.to_owned());
        } else {
            state.unflushed.remove(to);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::Remove)?;
        System.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::Remove)?;
        System.remove_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::Remove)?;
        System.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::CreateDir)?;
        System.create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::SyncDir)?;
        System.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.attempt(Operation::List)?;
        System.list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.attempt(Operation::Metadata)?;
        System.metadata(path)
    }

    fn available(&self, path: &Path) -> io::Result<u64> {
        self.attempt(Operation::Available)?;
        System.available(path)
    }
}

/// An open file of the disk.
#[derive(Debug)]
struct Handle<F> {
    file: F,
    path: PathBuf,
    state: Arc<Mutex<FaultState>>,
}

impl Write for Handle<Box<dyn WriteHandle>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match attempt(&self.state, Operation::Write) {
            Ok(()) => self.file.write(bytes),
            Err(failure) => {
                if failure == Failure::Short {
                    self.file.write_all(&bytes[..bytes.len() / 2])?;
                }
                Err(error_of(failure))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl WriteHandle for Handle<Box<dyn WriteHandle>> {
    fn sync(&mut self) -> io::Result<()> {
        attempt(&self.state, Operation::Sync).map_err(error_of)?;
        self.file.sync()?;
        lock(&self.state).unflushed.remove(&self.path);
        Ok(())
    }
}

impl Read for Handle<Box<dyn Read + Send>> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        attempt(&self.state, Operation::Read).map_err(error_of)?;
        self.file.read(into)
    }
}
