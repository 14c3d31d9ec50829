//! Files and folders that appear whole or not at all.
//!
//! Everything is written to a scratch sibling first, flushed to the disk, and renamed over the target;
//! then the folder is flushed too, so that the rename survives a power cut. A failure, or dropping the
//! writer, removes the scratch; what a killed process left behind, [`sweep`] removes later. Both are for their owner
//! alone from the first byte, and a file that takes the place of one with a stricter mode keeps that.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::file_system::{FileSystem, Mode, WriteHandle, private_folder, system};
use crate::{Error, Result};

/// What the name of every scratch file and folder ends with.
const SCRATCH_SUFFIX: &str = ".ngtmp";
/// Bytes gathered before the system is called; larger pieces are handed on as they are.
const BUFFER_BYTES: usize = 1 << 16;

/// A file being written; its target changes only in [`commit`](Self::commit).
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    // Before the scratch, which is removed when dropped: some systems do not remove what is open.
    file: BufWriter<Box<dyn WriteHandle>>,
    scratch: Scratch,
}

impl AtomicFile {
    /// Starts a scratch file beside `target`. The folder must exist.
    ///
    /// # Errors
    /// [`Error`] if `target` is a folder or its folder cannot be written.
    pub fn create(target: &Path) -> Result<Self> {
        Self::create_in(&system(), target)
    }

    /// Does what [`create`](Self::create) does, on a given disk.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(disk: &Arc<dyn FileSystem>, target: &Path) -> Result<Self> {
        let mode = match disk.metadata(target).map_err(Error::io("write", target))? {
            Some(former) if former.is_dir => {
                return Err(Error::io("write", target)(io::ErrorKind::IsADirectory.into()));
            }
            former => replacement_mode(former.map(|former| former.mode)),
        };
        let path = scratch_sibling(target)?;
        let file = disk.create_new(&path, mode).map_err(Error::io("write", target))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { target: target.to_owned(), file, scratch: Scratch::new(disk, path) })
    }

    /// Where the file will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Error`], for instance because the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.target))
    }

    /// Puts the finished file in its place.
    ///
    /// # Errors
    /// [`Error`]; what was at the target before is then still there, unless only the last step failed, which
    /// makes the new name survive a power cut: then the new content is.
    pub fn commit(mut self) -> Result<()> {
        self.flush()?;
        self.put()
    }

    /// The first half of [`commit`](Self::commit): what was written survives a power cut, under the scratch's name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io("write", &self.target))?;
        self.file.get_mut().sync().map_err(Error::io("flush", &self.target))
    }

    /// The second half of [`commit`](Self::commit), for a file that was flushed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn put(mut self) -> Result<()> {
        self.scratch.rename_to(&self.target)?;
        sync_parent(self.scratch.disk.as_ref(), &self.target)
    }
}

/// Writes a small file at once; see [`AtomicFile`].
///
/// # Errors
/// [`Error`].
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<()> {
    write_file_in(&system(), target, bytes)
}

/// Does what [`write_file`] does, on a given disk.
///
/// # Errors
/// [`Error`].
pub fn write_file_in(disk: &Arc<dyn FileSystem>, target: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create_in(disk, target)?;
    file.write(bytes)?;
    file.commit()
}

/// A folder of files being written; it gets its name only in [`commit`](Self::commit).
#[derive(Debug)]
pub struct AtomicFolder {
    target: PathBuf,
    scratch: Scratch,
    own_files: &'static [&'static str],
}

impl AtomicFolder {
    /// Starts a scratch folder beside `target`. If `target` exists it is replaced as a whole, and so it
    /// may hold only files named in `own_files`: nothing that somebody else put there gets lost.
    ///
    /// # Errors
    /// [`Error`] if `target` is a file or holds anything else, or its folder cannot be written.
    pub fn create(target: &Path, own_files: &'static [&'static str]) -> Result<Self> {
        check_replaceable(target, own_files)?;
        let scratch = scratch_sibling(target)?;
        private_folder().create(&scratch).map_err(Error::io("write", target))?;
        Ok(Self { target: target.to_owned(), scratch: Scratch::new(&system(), scratch), own_files })
    }

    /// Writes a file of the folder.
    ///
    /// # Errors
    /// [`Error`].
    pub fn write(&self, name: &'static str, bytes: &[u8]) -> Result<()> {
        let Some(folder) = &self.scratch.path else { return Ok(()) };
        let fail = || Error::io("write", &self.target);
        let disk = self.scratch.disk.as_ref();
        let former = disk.metadata(&self.target.join(name)).map_err(fail())?;
        let mode = replacement_mode(former.map(|former| former.mode));
        let mut file = disk.create_new(&folder.join(name), mode).map_err(fail())?;
        file.write_all(bytes).map_err(fail())?;
        file.sync().map_err(fail())
    }

    /// Puts the finished folder in its place.
    ///
    /// # Errors
    /// [`Error`]; the former folder is then still there.
    pub fn commit(mut self) -> Result<()> {
        if let Some(folder) = &self.scratch.path {
            sync_folder(self.scratch.disk.as_ref(), folder)?;
        }
        check_replaceable(&self.target, self.own_files)?;
        if self.target.is_dir() && !exchange(self.scratch.path.as_deref(), &self.target) {
            // No atomic exchange on this system: move the former folder away, and back if need be.
            let former = scratch_sibling(&self.target)?;
            fs::rename(&self.target, &former).map_err(Error::io("rename", &self.target))?;
            if let Err(error) = self.scratch.rename_to(&self.target) {
                // If this fails too, the former folder survives under its scratch name.
                fs::rename(&former, &self.target).map_err(Error::io("rename", &former))?;
                return Err(error);
            }
            drop(Scratch::new(&self.scratch.disk, former));
        } else if !self.target.is_dir() {
            self.scratch.rename_to(&self.target)?;
        }
        // After an exchange the scratch name holds the former folder; dropping removes it.
        sync_parent(self.scratch.disk.as_ref(), &self.target)
    }
}

/// Removes what other processes' unfinished writes left in `folder`. Scratch files of this process stay.
///
/// # Errors
/// [`Error`] if the folder cannot be listed; single files that cannot be removed only leave a warning.
pub fn sweep(folder: &Path) -> Result<()> {
    sweep_in(&system(), folder)
}

/// Does what [`sweep`] does, on a given disk.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_in(disk: &Arc<dyn FileSystem>, folder: &Path) -> Result<()> {
    let own = format!(".{}-", process_token());
    for entry in disk.list(folder).map_err(Error::io("list", folder))? {
        if is_scratch(&entry.name) && !entry.name.to_string_lossy().contains(&own) {
            remove(disk.as_ref(), &folder.join(&entry.name), entry.is_dir);
        }
    }
    Ok(())
}

/// Whether a file or folder of that name is an unfinished write, of this process or another.
pub fn is_scratch(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') && name.ends_with(SCRATCH_SUFFIX)
}

/// The mode of a file in the place of a former one.
fn replacement_mode(former: Option<Mode>) -> Mode {
    former.map_or(Mode::PRIVATE, Mode::for_replacement)
}

/// Removes a scratch file or folder when dropped, unless it was renamed.
#[derive(Debug)]
struct Scratch {
    disk: Arc<dyn FileSystem>,
    path: Option<PathBuf>,
}

impl Scratch {
    fn new(disk: &Arc<dyn FileSystem>, path: PathBuf) -> Self {
        Self { disk: Arc::clone(disk), path: Some(path) }
    }

    fn rename_to(&mut self, target: &Path) -> Result<()> {
        if let Some(scratch) = &self.path {
            self.disk.rename(scratch, target).map_err(Error::io("rename to", target))?;
            self.path = None;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            remove(self.disk.as_ref(), path, path.is_dir());
        }
    }
}

fn remove(disk: &dyn FileSystem, path: &Path, is_dir: bool) {
    let removed = if is_dir { disk.remove_dir_all(path) } else { disk.remove_file(path) };
    if let Err(error) = removed {
        tracing::warn!(%error, "a leftover scratch file could not be removed");
    }
}

/// A new name beside `target`: hidden, and unlike any other process's.
fn scratch_sibling(target: &Path) -> Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = target
        .file_name()
        .ok_or_else(|| Error::io("write", target)(std::io::ErrorKind::InvalidFilename.into()))?;
    let mut scratch = std::ffi::OsString::from(".");
    scratch.push(name);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    scratch.push(format!(".{}-{count}{SCRATCH_SUFFIX}", process_token()));
    Ok(target.with_file_name(scratch))
}

/// Random once per process: process numbers repeat, in containers and on phones.
fn process_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| format!("{:016x}", RandomState::new().hash_one(std::process::id())))
}

/// Whether [`AtomicFolder::create`] would accept `target`.
///
/// # Errors
/// [`Error`] if not.
pub fn check_replaceable(target: &Path, own_files: &[&str]) -> Result<()> {
    let refuse = |kind, text: String| Err(Error::io("replace", target)(std::io::Error::new(kind, text)));
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("write", target)(error)),
        Ok(metadata) if !metadata.is_dir() => {
            return refuse(std::io::ErrorKind::NotADirectory, "it exists and is not a folder".into());
        }
        Ok(_) => {}
    }
    for entry in fs::read_dir(target).map_err(Error::io("list", target))? {
        let name = entry.map_err(Error::io("list", target))?.file_name();
        if !own_files.iter().any(|own| name == *own) {
            let text = format!(
                "it holds {:?}, and replacing the folder would lose it; choose another folder",
                name.to_string_lossy()
            );
            return refuse(std::io::ErrorKind::AlreadyExists, text);
        }
    }
    Ok(())
}

/// Swaps the two names in one step where the system can.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(scratch: Option<&Path>, target: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    scratch.is_some_and(|scratch| renameat_with(CWD, scratch, CWD, target, RenameFlags::EXCHANGE).is_ok())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_scratch: Option<&Path>, _target: &Path) -> bool {
    false
}

/// Makes what happened to `target` in its folder survive a power cut.
///
/// # Errors
/// [`Error`].
pub fn sync_parent(disk: &dyn FileSystem, target: &Path) -> Result<()> {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(disk, parent),
        _ => sync_folder(disk, Path::new(".")),
    }
}

fn sync_folder(disk: &dyn FileSystem, folder: &Path) -> Result<()> {
    disk.sync_dir(folder).map_err(Error::io("flush", folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.bin");
        fs::write(&target, "old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(folder.path()).len(), 2);
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["model.bin"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_stricter_mode_stays_and_a_wider_one_does_not() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (file, folder) = (root.path().join("x"), root.path().join("folder"));
        for (before, after) in [(0o644, 0o600), (0o400, 0o400), (0o666, 0o600), (0o600, 0o600)] {
            write_file(&file, b"old").unwrap();
            set(&file, before);
            let mut again = AtomicFile::create(&file).unwrap();
            again.write(b"new").unwrap();
            let scratch = names(root.path()).into_iter().find(|name| name.starts_with(".x.")).unwrap();
            assert_eq!(mode(&root.path().join(scratch)), after, "from the first byte");
            again.commit().unwrap();
            assert_eq!((mode(&file), fs::read(&file).unwrap()), (after, b"new".to_vec()));

            for _ in 0..2 {
                let made = AtomicFolder::create(&folder, &["a"]).unwrap();
                made.write("a", b"x").unwrap();
                made.commit().unwrap();
                set(&folder.join("a"), before);
                set(&folder, 0o755);
            }
            let made = AtomicFolder::create(&folder, &["a"]).unwrap();
            made.write("a", b"y").unwrap();
            made.commit().unwrap();
            assert_eq!((mode(&folder), mode(&folder.join("a"))), (0o700, after));
        }
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create(&folder.path().join("x")).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn impossible_targets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AtomicFile::create(folder.path()).is_err());
        assert!(AtomicFile::create(&folder.path().join("missing/x")).is_err());
        assert!(AtomicFile::create(Path::new("/")).is_err());
        assert!(AtomicFile::create(Path::new("")).is_err());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("adapter");
        for content in ["one", "two"] {
            let folder = AtomicFolder::create(&target, &["a", "b"]).unwrap();
            folder.write(if content == "one" { "a" } else { "b" }, content.as_bytes()).unwrap();
            folder.commit().unwrap();
        }
        assert_eq!(names(root.path()), ["adapter"]);
        assert_eq!(names(&target), ["b"]);
        assert_eq!(fs::read(target.join("b")).unwrap(), b"two");
    }

    #[test]
    fn a_folder_with_foreign_files_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("adapter");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis.tex"), "years of work").unwrap();
        let error = AtomicFolder::create(&target, &["a"]).unwrap_err();
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(names(root.path()), ["adapter"]);
        fs::remove_file(target.join("thesis.tex")).unwrap();

        // Also when the file comes after the start.
        let folder = AtomicFolder::create(&target, &["a"]).unwrap();
        folder.write("a", b"x").unwrap();
        fs::write(target.join("late"), "x").unwrap();
        folder.commit().unwrap_err();
        assert_eq!(names(&target), ["late"]);
        assert_eq!(names(root.path()), ["adapter"]);
    }

    #[test]
    fn sweeping_spares_our_own_and_strangers() {
        let folder = tempfile::tempdir().unwrap();
        let ours = AtomicFile::create(&folder.path().join("ours")).unwrap();
        fs::write(folder.path().join(".theirs.0123456789abcdef-0.ngtmp"), "left").unwrap();
        fs::create_dir(folder.path().join(".folder.0123456789abcdef-1.ngtmp")).unwrap();
        fs::write(folder.path().join("notes.ngtmp"), "a person's").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        ours.commit().unwrap();
        assert_eq!(names(folder.path()), ["notes.ngtmp", "ours"]);
    }
}
