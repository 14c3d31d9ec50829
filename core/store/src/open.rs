//! Opening and beginning a store.

use std::path::Path;
use std::sync::Arc;

use nightgraft_files::file_system::{self, FileSystem};

use super::consistency;
use super::deviation::Deviation;
use super::folders::{self, GRAFTS, JOURNAL, SESSION};
use super::header::{self, FoundHeader, StoreHeader};
use super::in_force::{self, HeaderInForce};
use super::journal::{Covered, Journal};
use super::lock::Lock;
use super::{Store, inventory, sealed};
use crate::vault::manifest::{self, Manifest};
use crate::vault::{Key, Vault};
use crate::{Error, FileProblem, Inconsistency, Result, StoreProblem};

/// How a store is opened.
#[derive(Debug)]
pub struct StoreOptions {
    /// The key of an encrypted store. A new store is encrypted if there is one.
    pub key: Option<Key>,
    /// The key that `key` takes the place of. A store that is still under it is opened with it, and its key changed before
    /// anything else; one that is under `key` already is opened as if this were not there. Given both each time, opening ends
    /// with the store under `key`, wherever an earlier try was killed.
    pub former_key: Option<Key>,
    /// Bytes that all files of the store may take together.
    pub quota: Option<u64>,
    /// Grafts that are kept when one is added; at least the new one, the one in use and the one before that are.
    pub keep: usize,
    /// Begin a new store if there is none in the folder.
    pub create: bool,
    /// The seed of a new store; random otherwise.
    pub seed: Option<u64>,
    /// Open the store also if its journal is damaged, or earlier versions of files were put back, with the examples that
    /// can be read, for [`Store::verify`] and [`Store::repair`]. Until it is repaired nothing can be added or deleted; and
    /// if its manifest cannot be read, opening it writes and removes nothing.
    pub damaged: bool,
}

impl Default for StoreOptions {
    /// No keys, no quota, five grafts, and a new store if there is none.
    fn default() -> Self {
        Self { key: None, former_key: None, quota: None, keep: 5, create: true, seed: None, damaged: false }
    }
}

impl Store {
    /// Opens the store in the folder `root`, or begins one there; finishes what a crash has interrupted. A store of an
    /// earlier build becomes one of this build, which earlier ones refuse.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::WrongKey`], [`Error::NoKey`], [`Error::Corrupted`] if both
    /// copies of the header, the manifest or the journal are damaged (other files are looked at when they are needed),
    /// [`Error::Inconsistent`] if a file was replaced by an earlier version of it, was put back, or was lost where that
    /// would go unnoticed, [`Error::Refused`] if there is no store and none is to be made, if it is of a newer build, if a
    /// key is needless or to be changed in a store without one, or the folder holds something else; [`Error::Io`].
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self> {
        Self::open_with(root, options, file_system::system())
    }

    /// Does what [`open`](Self::open) does, on a given disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: &Path, options: StoreOptions, fs: Arc<dyn FileSystem>) -> Result<Self> {
        let refuse = |problem| Error::Refused { path: root.to_owned(), problem };
        let plain = Vault::plain(fs);
        let fs = plain.fs();
        // Not even a lock is left in a folder that is not a store's.
        if Self::read_header(&plain, root, &options)?.is_none() {
            if !options.create {
                return Err(refuse(StoreProblem::NoStore));
            }
            // Looked at in this order: another process may have begun the store meanwhile.
            if !inventory::is_vacant(fs, root)? && Self::read_header(&plain, root, &options)?.is_none() {
                return Err(refuse(StoreProblem::ForeignFolder));
            }
        }
        fs.create_dir_all(root).map_err(Error::io("create", root))?;
        let lock = Lock::take(root)?;
        // Read again: somebody else may have changed it before the lock was ours.
        let found = Self::read_header(&plain, root, &options)?;
        if found.is_none() {
            if !inventory::is_vacant(fs, root)? {
                return Err(refuse(StoreProblem::ForeignFolder));
            }
            // Whatever a beginning leaves behind when it is interrupted is removed or used by the next one.
            inventory::sweep(fs, root)?;
        }
        let is_new = found.is_none();
        let mut found = match found {
            Some(found) => found,
            None => FoundHeader::new(
                StoreHeader::new(options.seed, options.key.as_ref(), root)?,
                header::path(root),
            ),
        };
        if options.former_key.is_some() && found.header.current_key_id().is_none() {
            return Err(refuse(StoreProblem::NoKeyToChange));
        }
        let (key, successor) = found.header.choose_key(options.key, options.former_key, root);
        let (problem, differ) = (found.problem.take(), found.older.is_some());
        let HeaderInForce { header, vault, passed_over } = found.open(&plain, key.as_ref(), root)?;
        for folder in [JOURNAL, GRAFTS, SESSION].map(|folder| root.join(folder)) {
            fs.create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        }
        let header_is_made_up = problem.is_some() && !header::is_on_disk(&plain, root)?;
        let mut store = Self {
            root: root.to_owned(),
            vault,
            plain: plain.clone(),
            header,
            header_is_made_up,
            key,
            journal: Journal::empty(&root.join(JOURNAL)),
            quota: options.quota,
            keep: options.keep,
            dropped_session: false,
            _lock: Some(lock),
        };
        let LoadedManifest { deviations, is_made_up } = store.load_manifest(is_new, options.damaged)?;
        if let Some(path) = passed_over.filter(|_| !is_made_up)
            && let Some(manifest) = store.vault.manifest()
            && manifest.agrees(store.vault.disk(), &path)?
        {
            // The store itself wrote the newer header, with another key.
            return Err(Error::WrongKey { path });
        }
        if !is_made_up {
            store.tidy()?;
        }
        let is_put_back = |deviation: &&Deviation| deviation.why != Inconsistency::Missing;
        let put_back: Vec<_> = deviations.iter().filter(is_put_back).cloned().collect();
        if let Some(deviation) = put_back.first().filter(|_| !options.damaged) {
            return Err(deviation.error());
        }
        let covered = if is_made_up { Covered::Left } else { Covered::Removed };
        store.journal = Journal::load_without(&store.vault, &root.join(JOURNAL), &put_back, covered)?;
        store.note_lost_examples()?;
        if !options.damaged {
            store.journal.check()?;
        } else if is_made_up {
            store.journal.distrust(root.join(manifest::NAME), FileProblem::Unreadable);
        }
        for deviation in &deviations {
            if !options.damaged && !consistency::is_bearable(deviation, root) {
                return Err(deviation.error());
            }
            tracing::warn!(path = %deviation.path.display(), "{}", deviation.why);
        }
        if let Some(problem) = problem {
            tracing::warn!(%problem, "the copy of the header is used; repair the store");
        }
        if !is_made_up && deviations.iter().all(|deviation| consistency::is_bearable(deviation, root)) {
            store.go_on(differ)?;
        }
        if let Some(successor) = successor {
            store.rotate_key(successor)?;
        }
        Ok(store)
    }

    /// Reads the manifest, or begins one for a new store and for one of an earlier build.
    fn load_manifest(&mut self, is_new: bool, damaged: bool) -> Result<LoadedManifest> {
        let (vault, root) = (self.vault.clone(), self.root.clone());
        let path = root.join(manifest::NAME);
        let why = match sealed::damage(Manifest::load(vault.disk(), &root))? {
            Ok(Some(manifest)) => {
                let deviations = consistency::deviations(&vault, &self.plain, &manifest, &root)?;
                self.vault = vault.with_manifest(Arc::new(manifest));
                return Ok(LoadedManifest { deviations, is_made_up: false });
            }
            Ok(None) => Some(Inconsistency::Missing),
            Err(_) if consistency::is_of_former_key(&vault, &path)? => Some(Inconsistency::EarlierManifest),
            // Reading it once more tells, when the store is verified.
            Err(_) if damaged => None,
            Err(problem) => return Err(sealed::corrupted(&path, problem)),
        };
        let manifest = Manifest::of(vault.disk(), &root, &consistency::tracked(&vault, &root)?)?;
        self.vault = vault.with_manifest(Arc::new(manifest));
        let is_missing = why == Some(Inconsistency::Missing);
        let is_of_earlier_build =
            self.header.is_of_first_version() && !in_force::opens_nothing(&vault, &root)?;
        if is_missing && (is_new || is_of_earlier_build || Manifest::was_begun(vault.disk(), &root)?) {
            self.header = self.header.renewed(self.key.as_ref(), &root)?;
            self.write_header()?;
            return Ok(LoadedManifest { deviations: Vec::new(), is_made_up: false });
        }
        let deviations = why.map(|why| Deviation { path, why }).into_iter().collect();
        Ok(LoadedManifest { deviations, is_made_up: true })
    }

    /// Removes what unfinished writes left, and shuts others out.
    pub(super) fn tidy(&self) -> Result<()> {
        let fs = self.plain.fs();
        for folder in ["", JOURNAL, GRAFTS, SESSION] {
            inventory::sweep(fs, &self.root.join(folder))?;
        }
        inventory::make_private(fs, &self.root)
    }

    /// Finishes what a crash has interrupted.
    fn go_on(&mut self, headers_differ: bool) -> Result<()> {
        if headers_differ {
            self.write_header()?;
        }
        if self.header.is_rotating()
            && let Err(error) = self.finish_rotation()
        {
            // Both keys are there until it is done, so everything works meanwhile.
            tracing::warn!(%error, "the change of the key is not finished yet");
        }
        self.drop_session_of_deleted()
    }

    /// Puts both copies of the header into their places.
    pub(super) fn write_header(&self) -> Result<()> {
        self.vault.put(self.header.writers(&self.plain, &self.root)?, &[])
    }

    /// Segments that are gone from the journal's end leave no gap: what others know of its examples shows it.
    fn note_lost_examples(&mut self) -> Result<()> {
        let current = sealed::damage(self.current())?.ok().flatten();
        let last_trained_on = match current.map(|id| self.meta(id)) {
            None | Some(Err(Error::Refused { .. })) => None,
            Some(meta) => sealed::damage(meta)?.ok().and_then(|meta| meta.trained_on.last()),
        };
        let last = last_trained_on.unwrap_or(0).max(self.last_id_of_session()?);
        self.journal.expect_ids_up_to(last);
        Ok(())
    }

    /// The header; a new one in place of a damaged or missing one, if there are files whose only loss that is and
    /// `options` say so. That is not written before the store is repaired.
    fn read_header(plain: &Vault, root: &Path, options: &StoreOptions) -> Result<Option<FoundHeader>> {
        let found = StoreHeader::read(plain, root);
        let lost = matches!(found, Ok(None) | Err(Error::Corrupted { .. }));
        if !lost || !options.damaged || options.key.is_some() {
            return found;
        }
        let mut n_plain = 0;
        for folder in [JOURNAL, GRAFTS].map(|folder| root.join(folder)) {
            let is_there = plain.fs().metadata(&folder).map_err(Error::io("open", &folder))?.is_some();
            for entry in if is_there { folders::list(plain.fs(), &folder)? } else { Vec::new() } {
                match plain.key_id(&folder.join(&entry.name)) {
                    Ok(None) => n_plain += 1,
                    // The key to it was in the header.
                    Ok(Some(_)) => return found,
                    Err(_) => {}
                }
            }
        }
        if n_plain == 0 {
            return found;
        }
        let problem =
            found.err().unwrap_or_else(|| sealed::corrupted(&header::path(root), FileProblem::Missing));
        let made_up = FoundHeader::new(StoreHeader::new(options.seed, None, root)?, header::path(root));
        Ok(Some(FoundHeader { problem: Some(problem), ..made_up }))
    }
}

/// What the manifest of a store shows.
struct LoadedManifest {
    /// The files that are not as it says.
    deviations: Vec<Deviation>,
    /// It cannot be read, and one that trusts every file stands in for it. It must not get onto the disk but by a repair.
    is_made_up: bool,
}
