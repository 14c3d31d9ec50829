//! Hashing a whole model file, once: a fingerprint looks at samples, and a damaged byte between them is no other model to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nightgraft_ggml::{FileChange, FileStamp, MappedFile};
use nightgraft_gguf::{Digest, Fingerprint};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ModelFile;
use super::parts::{self, Part};
use crate::{Error, Result};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// How often who waits looks whether to stop, and whether the hashing is over.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The hash of a model's whole file, and which file had it: as long as the system says that it is that file and was not written
/// to, it is not hashed again. Of a model in several files it is that of their bytes one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// What its header and samples are.
    pub fingerprint: Fingerprint,
    /// The SHA-256 of all of it.
    pub sha256: Digest,
    #[serde(flatten)]
    first: Stamp,
    /// Those of the other files, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Stamp>,
}

/// A [`FileStamp`], as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    len: u64,
    modified_ns: i64,
    inode: u64,
    device: u64,
}

impl FileHash {
    /// Hashes the file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelChanged`] if it changes meanwhile.
    pub fn read(file: &ModelFile) -> Result<Self> {
        let sha256 = hash(file.parts(), &AtomicBool::new(false))?;
        Ok(Self::of(file, file.fingerprint()?, sha256))
    }

    fn of(file: &ModelFile, fingerprint: Fingerprint, sha256: Digest) -> Self {
        let mut stamps = file.parts().iter().map(|part| Stamp::from(part.mapping.stamp()));
        let first = stamps.next().expect("a model has a file");
        Self { fingerprint, sha256, first, others: stamps.collect() }
    }

    /// Whether it is the very file that was hashed, as far as the system tells. A disk's number is not looked at: it can be
    /// another one each time that the system starts.
    pub fn is_of(&self, file: &ModelFile) -> bool {
        let is_it = |(stamp, part): (&Stamp, &Part)| {
            let now = part.mapping.stamp();
            FileStamp { device: now.device, ..stamp.file() } == now
        };
        self.n_files() == file.parts().len() && self.stamps().zip(file.parts()).all(is_it)
    }

    /// What the system tells of the file at `path`, or of the others of its model, that is not as it was when they were hashed;
    /// and of which of them.
    pub fn change(&self, path: &Path) -> Option<(PathBuf, FileChange)> {
        let paths = parts::paths(path, self.n_files());
        let changes = paths.into_iter().zip(self.stamps()).filter_map(|(path, stamp)| {
            let change = match FileStamp::at(&path) {
                Ok(now) => stamp.file().changed_to(&now),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some(FileChange::Removed),
                Err(_) => Some(FileChange::Unreadable),
            };
            Some((path, change?))
        });
        changes.into_iter().next()
    }

    fn n_files(&self) -> usize {
        1 + self.others.len()
    }

    fn stamps(&self) -> impl Iterator<Item = &Stamp> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl From<FileStamp> for Stamp {
    fn from(FileStamp { len, modified_ns, inode, device }: FileStamp) -> Self {
        Self { len, modified_ns, inode, device }
    }
}

impl Stamp {
    fn file(&self) -> FileStamp {
        let Self { len, modified_ns, inode, device } = *self;
        FileStamp { len, modified_ns, inode, device }
    }
}

/// Hashes all bytes of a file that is in use, on a thread beside the work, and compares the hash with that of an earlier time.
pub struct HashCheck {
    file: ModelFile,
    fingerprint: Fingerprint,
    /// What the bytes have to be, if that is known from an earlier time.
    expected: Option<Digest>,
    state: State,
}

enum State {
    Hashing(Hashing),
    Known(FileHash),
    /// A file was found to be of no use.
    Failed(PathBuf, FileChange),
}

/// Ends when it is dropped.
struct Hashing {
    thread: Option<JoinHandle<Result<Digest>>>,
    stop: Arc<AtomicBool>,
}

impl HashCheck {
    /// Begins to hash the file, unless `recorded` is of it. If that is of the same model in another file, this one has to have
    /// the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses a thread.
    pub fn start(file: &ModelFile, recorded: Option<FileHash>) -> Result<Self> {
        let fingerprint = file.fingerprint()?;
        let recorded = recorded.filter(|recorded| recorded.fingerprint == fingerprint);
        let state = match &recorded {
            Some(recorded) if recorded.is_of(file) => {
                State::Known(FileHash::of(file, fingerprint, recorded.sha256))
            }
            _ => State::Hashing(Hashing::start(file.clone())?),
        };
        let expected = recorded.map(|recorded| recorded.sha256);
        Ok(Self { file: file.clone(), fingerprint, expected, state })
    }

    /// Whether the file has to show first that it is the one of an earlier time: until then, nothing that comes from it may
    /// be kept.
    pub fn is_awaited(&self) -> bool {
        self.expected.is_some() && !matches!(self.state, State::Known(_))
    }

    /// What is known by now.
    pub fn known(&self) -> Option<FileHash> {
        match &self.state {
            State::Known(hash) => Some(hash.clone()),
            _ => None,
        }
    }

    /// What was found out, if that is news and the hashing is over.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn poll(&mut self) -> Result<Option<FileHash>> {
        match &self.state {
            State::Hashing(Hashing { thread: Some(thread), .. }) if !thread.is_finished() => Ok(None),
            _ => self.ended(),
        }
    }

    /// Waits for the end of the hashing; what was found out, if that is news.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if `stop` is raised before the end: the hashing goes on, and can be waited for again.
    /// [`Error::ModelChanged`] if the bytes are not those of the earlier time, change, or cannot be read; then always.
    pub fn wait(&mut self, stop: &AtomicBool) -> Result<Option<FileHash>> {
        loop {
            if let Some(news) = self.poll()? {
                return Ok(Some(news));
            }
            if !matches!(self.state, State::Hashing(_)) {
                return Ok(None);
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What was found out, once the hashing is over.
    fn ended(&mut self) -> Result<Option<FileHash>> {
        if let State::Hashing(hashing) = &mut self.state {
            self.state = match hashing.finish() {
                Ok(sha256) if self.expected.is_none_or(|expected| expected == sha256) => {
                    State::Known(FileHash::of(&self.file, self.fingerprint, sha256))
                }
                Ok(_) => State::Failed(self.file.path().to_owned(), FileChange::OtherBytes),
                Err(Error::ModelChanged { path, change }) => State::Failed(path, change),
                Err(_) => State::Failed(self.file.path().to_owned(), FileChange::Unreadable),
            };
            if let State::Known(hash) = &self.state {
                return Ok(Some(hash.clone()));
            }
        }
        match &self.state {
            State::Failed(path, change) => Err(Error::ModelChanged { path: path.clone(), change: *change }),
            _ => Ok(None),
        }
    }
}

impl Hashing {
    fn start(file: ModelFile) -> Result<Self> {
        let (path, stop) = (file.path().to_owned(), Arc::new(AtomicBool::new(false)));
        let raised = stop.clone();
        let thread =
            std::thread::Builder::new().name("hash".to_owned()).spawn(move || hash(file.parts(), &raised));
        Ok(Self { thread: Some(thread.map_err(Error::io("start hashing", &path))?), stop })
    }

    fn finish(&mut self) -> Result<Digest> {
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(std::thread::Result::ok).unwrap_or(Err(Error::Cancelled))
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.finish(); // within a chunk, and what came of it concerns nobody any more
    }
}

/// Through the open files rather than the mappings: pages that are only hashed need not stay in memory.
fn hash(parts: &[Part], stop: &AtomicBool) -> Result<Digest> {
    let mut hasher = Sha256::new();
    for part in parts {
        hash_file(&part.mapping, &mut hasher, stop)?;
    }
    for part in parts {
        part.mapping.check()?;
    }
    Ok(Digest::from(<[u8; 32]>::from(hasher.finalize())))
}

fn hash_file(mapping: &MappedFile, hasher: &mut Sha256, stop: &AtomicBool) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while !stop.load(Ordering::Relaxed) {
        match mapping.read_at(offset, &mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                hasher.update(&chunk[..n]);
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", mapping.path())(error)),
        }
    }
    Err(Error::Cancelled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use nightgraft_kernels::WeightType;
    use nightgraft_tiny_model::{TinyModel, split};

    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    fn model(path: &Path) -> ModelFile {
        TinyModel::new(WeightType::F32).write(path).unwrap();
        ModelFile::open(path).unwrap()
    }

    /// Changes a byte that no sample of the fingerprint has.
    fn damage(path: &Path) {
        let bytes = fs::read(path).unwrap();
        let fingerprint = || ModelFile::open(path).unwrap().fingerprint().unwrap();
        let before = fingerprint();
        let unseen = (bytes.len() / 2..bytes.len()).step_by(1000).any(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
            fingerprint() == before
        });
        assert!(unseen);
    }

    /// A file that nobody hashes to its end in a test's time: most of it is a hole.
    #[test]
    fn a_stop_does_not_wait_for_the_end_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        drop(model(&path));
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let mut check = HashCheck::start(&ModelFile::open(&path).unwrap(), None).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let raised = stop.clone();
        let other = std::thread::spawn(move || raised.store(true, Ordering::Relaxed));
        for _ in 0..2 {
            assert!(matches!(check.wait(&stop), Err(Error::Cancelled)));
        }
        assert_eq!((check.known(), check.poll().unwrap()), (None, None), "it goes on");
        other.join().unwrap();
    }

    #[test]
    fn a_byte_between_the_samples_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let file = model(&path);
        let mut check = HashCheck::start(&file, None).unwrap();
        assert!(!check.is_awaited());
        let first = check.wait(&GO_ON).unwrap().unwrap();
        assert_eq!(first, FileHash::read(&file).unwrap());
        assert_eq!(first.sha256.to_string(), format!("{:x}", Sha256::digest(fs::read(&path).unwrap())));
        assert_eq!(check.wait(&GO_ON).unwrap(), None, "it is no news any more");

        // The very file: nothing is read.
        let mut check = HashCheck::start(&file, Some(first.clone())).unwrap();
        assert!(!check.is_awaited());
        assert_eq!(check.poll().unwrap(), None);

        // On a disk that has another number since.
        let stamp = Stamp { device: first.first.device + 1, ..first.first };
        let renumbered = FileHash { first: stamp, ..first.clone() };
        let check = HashCheck::start(&file, Some(renumbered)).unwrap();
        assert_eq!(check.known(), Some(first.clone()));
        assert_eq!(check.known().unwrap().change(&path), None);

        // A copy: read, and found to be the same.
        let copy = folder.path().join("copy.gguf");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        let mut check = HashCheck::start(&ModelFile::open(&path).unwrap(), Some(first.clone())).unwrap();
        assert!(check.is_awaited());
        assert_eq!(check.wait(&GO_ON).unwrap().unwrap().sha256, first.sha256);
        assert!(!check.is_awaited());

        damage(&path);
        let mut check = HashCheck::start(&ModelFile::open(&path).unwrap(), Some(first)).unwrap();
        for _ in 0..2 {
            let error = check.wait(&GO_ON).unwrap_err();
            assert!(matches!(error, Error::ModelChanged { change: FileChange::OtherBytes, .. }), "{error}");
        }
    }

    #[test]
    fn a_change_of_any_part_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        drop(model(&path));
        let paths = split(&path, 3);
        let file = ModelFile::open(&paths[1]).unwrap();
        let known = FileHash::read(&file).unwrap();
        let all: Vec<u8> = paths.iter().flat_map(|path| fs::read(path).unwrap()).collect();
        assert_eq!(known.sha256.to_string(), format!("{:x}", Sha256::digest(all)));
        assert!(known.is_of(&file));
        let read: FileHash = serde_json::from_value(serde_json::to_value(&known).unwrap()).unwrap();
        assert_eq!(read, known);

        for path in &paths {
            assert_eq!(known.change(path), None);
        }
        damage(&paths[2]);
        for path in &paths {
            let (changed, change) = known.change(path).unwrap();
            assert_eq!((changed.as_path(), change), (paths[2].as_path(), FileChange::Written));
        }
        assert!(matches!(file.check(), Err(Error::ModelChanged { path, .. }) if path == paths[2]));
        let now = ModelFile::open(&paths[0]).unwrap();
        assert!(!known.is_of(&now));
        assert_eq!(now.fingerprint().unwrap(), known.fingerprint, "the byte is in no sample");
        let mut check = HashCheck::start(&now, Some(known.clone())).unwrap();
        let error = check.wait(&GO_ON).unwrap_err();
        assert!(matches!(error, Error::ModelChanged { change: FileChange::OtherBytes, .. }), "{error}");

        fs::remove_file(&paths[1]).unwrap();
        assert_eq!(known.change(&paths[0]), Some((paths[1].clone(), FileChange::Removed)));
    }
}
