//! The manifest of a folder: it tells the files that were written last from their own earlier versions.
//!
//! Every seal binds a file to its content, name and role, and so does that of an earlier version of it. The manifest
//! lists the one version of each file that is in force. A change of files goes like this:
//!
//! 1. the new files lie beside their targets, flushed;
//! 2. `manifest.next.ngs` lists everything as it will be, and is flushed with its folder;
//! 3. the files get their names, former ones are removed, their folders are flushed;
//! 4. `manifest.next.ngs` becomes `manifest.ngs`.
//!
//! So a process that is killed, or a device that loses its power, leaves files of which each is in the version before or
//! after the change, and a next manifest that says so; the next opening goes on from there. Without a next manifest there
//! is one version of each file, and any other was put there by somebody else. The last step is not flushed: if it is
//! lost, what is left is the state before it. A change costs two flushes more than the files' own (of the next manifest
//! and of its folder), and some eighty bytes for each file that is listed.
//!
//! Each sealed file carries the number of the change that wrote it, and no number is larger than the manifest's, unless
//! the manifest itself was replaced by an earlier version.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::SealedDisk;
use super::listing::Listing;
use super::stamp::Stamp;
use crate::{Error, FileProblem, Result};

/// The file.
pub(crate) const NAME: &str = "manifest.ngs";
/// The one that takes its place with the change under way.
pub(crate) const NEXT_NAME: &str = "manifest.next.ngs";
const ROLE: &str = "manifest";
const MAX_BYTES: u64 = 64 << 20;

/// The manifest of a folder that this process alone changes.
#[derive(Debug)]
pub(crate) struct Manifest {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is in force.
    listing: Listing,
    /// A change that was interrupted: each file is as it was before or after it.
    pending: Option<Listing>,
    /// The largest number given so far.
    latest: u64,
    /// What else the folder shows to be wrong with the manifest.
    stray: Option<Stray>,
}

/// A next manifest that does not follow the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// It follows a later one: the manifest was replaced by an earlier version.
    Later,
    /// It is an earlier one that was put back.
    Earlier,
}

/// Whether a change did all that its listing says.
pub(super) enum Done {
    Wholly,
    /// Some files are still there; the next change finds out which.
    Partly,
}

impl Manifest {
    /// Reads the manifest of the folder `root`, and settles a change that was interrupted; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupted`], [`Error::WrongKey`], [`Error::Io`].
    pub(crate) fn load(disk: &SealedDisk, root: &Path) -> Result<Option<Self>> {
        let Some(listing) = read(disk, root, NAME)? else { return Ok(None) };
        let next = read_next(disk, root)?;
        let (pending, stray) = match next {
            None => (None, None),
            Some(next) if next.after == listing.counter => (Some(next), None),
            Some(next) if next.after > listing.counter => (None, Some(Stray::Later)),
            Some(_) => (None, Some(Stray::Earlier)),
        };
        let latest = listing.counter.max(pending.as_ref().map_or(0, |next| next.counter));
        let manifest = Self::new(root, State { listing, pending, latest, stray });
        manifest.settle(disk, &mut manifest.lock())?;
        Ok(Some(manifest))
    }

    /// Whether there is a manifest that can be read; nothing is settled or written.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn is_there(disk: &SealedDisk, root: &Path) -> Result<bool> {
        Ok(read(disk, root, NAME)?.is_some())
    }

    /// Whether there is no manifest because the first one was about to be written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn was_begun(disk: &SealedDisk, root: &Path) -> Result<bool> {
        Ok(read_next(disk, root)?.is_some_and(|next| next.after == 0))
    }

    /// A manifest, not on the disk yet, that lists `files` in the versions that they have there. Its number is larger
    /// than theirs.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn of(disk: &SealedDisk, root: &Path, files: &[PathBuf]) -> Result<Self> {
        let state = State { listing: Listing::default(), pending: None, latest: 0, stray: None };
        let manifest = Self::new(root, state);
        manifest.list_again(disk, files, &mut manifest.lock())?;
        Ok(manifest)
    }

    /// Writes the manifest anew, with `files` in the versions that they have on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn rewrite(&self, disk: &SealedDisk, files: &[PathBuf]) -> Result<()> {
        let mut state = self.lock();
        self.list_again(disk, files, &mut state)?;
        self.replace(disk, &mut state)
    }

    /// Writes the manifest with the key that the disk writes with now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn reseal(&self, disk: &SealedDisk) -> Result<()> {
        let mut state = self.lock();
        self.settle(disk, &mut state)?;
        self.replace(disk, &mut state)
    }

    /// The files that are listed.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.lock().listing.files.keys().map(|name| self.root.join(name)).collect()
    }

    /// Whether a file is on the disk as it is listed, or neither there nor listed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn agrees(&self, disk: &SealedDisk, path: &Path) -> Result<bool> {
        let listed = self.name(path).and_then(|name| self.lock().listing.files.get(&name).copied());
        Ok(Stamp::of(disk.fs().as_ref(), path)? == listed)
    }

    /// The number of the last change.
    pub(crate) fn counter(&self) -> u64 {
        self.lock().listing.counter
    }

    /// What was found beside the manifest when it was read.
    pub(crate) fn stray(&self) -> Option<Stray> {
        self.lock().stray
    }

    /// Whether the manifest on the disk is this one.
    ///
    /// # Errors
    /// [`Error::Corrupted`], [`Error::WrongKey`], [`Error::Io`].
    pub(crate) fn is_on_disk(&self, disk: &SealedDisk) -> Result<bool> {
        Ok(read(disk, &self.root, NAME)?.is_some_and(|found| found == self.lock().listing))
    }

    /// A number for a file that is about to be written.
    pub(super) fn reserve(&self) -> u64 {
        let mut state = self.lock();
        state.latest += 1;
        state.latest
    }

    /// Carries out a change: files that get into their places, and files that go. `act` does it; whatever it has done when
    /// it fails is found out before the next change.
    ///
    /// # Errors
    /// [`Error::Io`], and those of `act`.
    pub(super) fn change(
        &self,
        disk: &SealedDisk,
        put: &[(PathBuf, Stamp)],
        gone: &[PathBuf],
        act: impl FnOnce() -> Result<Done>,
    ) -> Result<()> {
        let mut state = self.lock();
        self.settle(disk, &mut state)?;
        let mut next = state.listing.clone();
        for (path, stamp) in put {
            if let Some(name) = self.name(path) {
                next.set(&name, Some(*stamp));
            }
        }
        for name in gone.iter().filter_map(|path| self.name(path)) {
            next.set(&name, None);
        }
        // The first one is written in any case.
        if next.files == state.listing.files && state.listing.counter > 0 {
            return act().map(drop);
        }
        state.latest += 1;
        next.counter = state.latest;
        next.after = state.listing.counter;
        state.pending = Some(next.clone());
        self.write_next(disk, &next)?;
        match act()? {
            Done::Wholly => self.put_next(disk, next, &mut state),
            Done::Partly => Ok(()),
        }
    }

    fn new(root: &Path, state: State) -> Self {
        Self { root: root.to_owned(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out what an interrupted change has done.
    fn settle(&self, disk: &SealedDisk, state: &mut State) -> Result<()> {
        let Some(next) = &state.pending else { return Ok(()) };
        let mut settled = state.listing.clone();
        for name in state.listing.difference(next) {
            let found = Stamp::of(disk.fs().as_ref(), &self.root.join(name))?;
            // Any other version was put there by somebody else, and shows when the files are compared.
            if found.as_ref() == next.files.get(name) {
                settled.set(name, found);
            }
        }
        if settled.files == state.listing.files {
            disk.remove(&[self.root.join(NEXT_NAME)])?;
            state.pending = None;
            return Ok(());
        }
        state.latest += 1;
        settled.after = state.listing.counter;
        settled.counter = state.latest;
        self.write_next(disk, &settled)?;
        self.put_next(disk, settled, state)
    }

    fn list_again(&self, disk: &SealedDisk, files: &[PathBuf], state: &mut State) -> Result<()> {
        let mut listing = Listing { after: state.listing.after, ..Listing::default() };
        let mut latest = state.latest.max(state.listing.counter);
        for path in files {
            let number = disk.number(path).ok().flatten();
            latest = latest.max(number.unwrap_or(0));
            if let Some(name) = self.name(path) {
                listing.set(&name, Stamp::of(disk.fs().as_ref(), path)?);
            }
        }
        listing.counter = state.listing.counter;
        (state.listing, state.pending, state.latest, state.stray) = (listing, None, latest, None);
        Ok(())
    }

    /// Writes what is in force as a change without files.
    fn replace(&self, disk: &SealedDisk, state: &mut State) -> Result<()> {
        state.latest += 1;
        let next = Listing { after: state.listing.counter, counter: state.latest, ..state.listing.clone() };
        self.write_next(disk, &next)?;
        self.put_next(disk, next, state)
    }

    fn write_next(&self, disk: &SealedDisk, next: &Listing) -> Result<()> {
        let bytes = serde_json::to_vec(next).expect("numbers and texts serialize");
        let (place, name) = (self.root.join(NEXT_NAME), self.root.join(NAME));
        let mut file = disk.create(&place, &name, ROLE, Some(next.counter))?;
        file.append(&bytes)?;
        let (file, _) = file.finish()?;
        Ok(file.put()?)
    }

    fn put_next(&self, disk: &SealedDisk, next: Listing, state: &mut State) -> Result<()> {
        let (from, to) = (self.root.join(NEXT_NAME), self.root.join(NAME));
        disk.fs().rename(&from, &to).map_err(Error::io("rename to", &to))?;
        (state.listing, state.pending) = (next, None);
        Ok(())
    }

    /// How a file is listed; `None` for one that lies somewhere else.
    fn name(&self, path: &Path) -> Option<String> {
        let parts = path.strip_prefix(&self.root).ok()?.iter().map(|part| part.to_str());
        Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
    }
}

/// Reads the manifest under one of its two names; `None` if there is none.
fn read(disk: &SealedDisk, root: &Path, place: &str) -> Result<Option<Listing>> {
    let (place, name) = (root.join(place), root.join(NAME));
    if disk.fs().metadata(&place).map_err(Error::io("open", &place))?.is_none() {
        return Ok(None);
    }
    let bytes = disk.read(&place, &name, ROLE, MAX_BYTES)?;
    let problem = |error: serde_json::Error| Error::Corrupted {
        path: place.clone(),
        problem: FileProblem::Content { category: error.classify(), column: Some(error.column()) },
    };
    serde_json::from_slice(&bytes).map(Some).map_err(problem)
}

/// Reads the next manifest. One that cannot be read was not finished, and no file has changed yet.
fn read_next(disk: &SealedDisk, root: &Path) -> Result<Option<Listing>> {
    match read(disk, root, NEXT_NAME) {
        Err(Error::Corrupted { .. } | Error::WrongKey { .. }) => Ok(None),
        read => read,
    }
}
