//! Small sealed documents, and what belongs to the unfinished session.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::folders::{SESSION, list};
use super::ids::GraftId;
use super::{IdSet, Store};
use crate::vault::Vault;
use crate::{Error, FileProblem, Result, StoreProblem};

/// What a document's file is sealed as.
pub(super) const ROLE: &str = "document";
/// A document may have this many bytes.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// The document that says what the unfinished session learns from. See [`PlanReferences`].
const PLAN: &str = "session";
/// The document that knows all bytes of the models that were used with the store.
pub const MODELS: &str = "models";
/// Documents that are not the session's and stay when it ends.
const LASTING: [&str; 7] = ["usage", "policy", "paces", "nights", "diverged", "held-out", MODELS];

/// What must be known of the session's plan: all else in that document is the session's own.
#[derive(Deserialize)]
struct PlanReferences {
    /// Ids of the examples that it learns from.
    train: IdSet,
    /// Ids of those that it is measured on.
    #[serde(default)]
    held_out: IdSet,
    /// The graft that it starts from.
    #[serde(default)]
    parent: Option<GraftId>,
}

/// Writes one document; see [`Store::document_writer`]. The quota is not looked at.
#[derive(Debug)]
pub struct DocumentWriter {
    vault: Vault,
    path: PathBuf,
}

impl DocumentWriter {
    /// Writes it in place of the former one.
    ///
    /// # Errors
    /// [`Error::Refused`] for a value that is not JSON, [`Error::Io`].
    pub fn write<T: Serialize>(&self, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::Refused {
            path: self.path.clone(),
            problem: StoreProblem::ThisDocument(error.to_string()),
        })?;
        self.vault.write(&self.path, ROLE, &bytes)
    }
}

impl Store {
    /// Where the session's checkpoints go.
    pub fn session_folder(&self) -> PathBuf {
        self.root.join(SESSION)
    }

    /// Reads a document; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if it is damaged, [`Error::OtherBuild`] if a later version of this program sealed it or it does not
    /// hold a `T`, [`Error::Refused`] for a name that cannot be one, [`Error::Io`].
    pub fn read_document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.document(name)?;
        if self.vault.fs().metadata(&path).map_err(Error::io("open", &path))?.is_none() {
            return Ok(None);
        }
        let bytes = self.vault.read(&path, ROLE, MAX_BYTES).map_err(|error| match error {
            Error::Corrupted { path, problem } if self.vault.later_version(&path).is_some() => {
                Error::OtherBuild { path, problem }
            }
            error => error,
        })?;
        // The seal holds: this is what was written, though not by this build.
        let value = serde_json::from_slice(&bytes).map_err(|error| Error::OtherBuild {
            path,
            // The kind of error alone: its words could quote the document.
            problem: FileProblem::Document { category: error.classify(), column: error.column() },
        })?;
        Ok(Some(value))
    }

    /// When a document was last written, by the clock of the file system; `None` if that cannot be told.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that cannot be one.
    pub fn document_written(&self, name: &str) -> Result<Option<SystemTime>> {
        let written = std::fs::metadata(self.document(name)?).and_then(|document| document.modified());
        Ok(written.ok())
    }

    /// Writes a document in place of the former one of that name: small letters, digits, `-` and `_`, at most 32. The
    /// document `usage` outlives the session, all others end with it. A document `session` whose
    /// field `train` (and `held_out`, if there is one) is an [`IdSet`] ties the session to these examples: it is
    /// dropped when one of them is deleted.
    ///
    /// # Errors
    /// [`Error::Refused`] for another name or a value that is not JSON, [`Error::Quota`], [`Error::Io`].
    pub fn write_document<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.document(name)?;
        let bytes = serde_json::to_vec(value).map_err(|error| {
            self.refused(StoreProblem::Document { name: name.to_owned(), why: error.to_string() })
        })?;
        if bytes.len() as u64 > MAX_BYTES {
            let problem = StoreProblem::DocumentTooLarge { name: name.to_owned(), limit: MAX_BYTES };
            return Err(self.refused(problem));
        }
        let former = self.vault.fs().metadata(&path).map_err(Error::io("open", &path))?;
        let more = bytes.len() as u64;
        self.make_room(more.saturating_sub(former.map_or(0, |entry| entry.len)))?;
        self.vault.write(&path, ROLE, &bytes)
    }

    /// A writer of a document, for another thread than the one that has the store.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that cannot be one.
    pub fn document_writer(&self, name: &str) -> Result<DocumentWriter> {
        Ok(DocumentWriter { vault: self.vault.clone(), path: self.document(name)? })
    }

    /// Removes a document; none of that name is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that cannot be one, [`Error::Io`].
    pub fn remove_document(&self, name: &str) -> Result<()> {
        self.vault.remove(&self.document(name)?)
    }

    /// Ends the session: its documents and checkpoints go, `usage` stays. Tells whether there was anything of it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn drop_session(&mut self) -> Result<bool> {
        let folder = self.session_folder();
        let is_there = !list(self.vault.fs(), &folder)?.is_empty();
        let fs = self.vault.fs();
        let plan = file_name(PLAN);
        let entries = list(fs, &folder)?.into_iter().filter(|entry| entry.name != *plan);
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.is_dir);
        for path in folders.iter().map(|entry| folder.join(&entry.name)) {
            fs.remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        self.vault.remove_all(&files.iter().map(|entry| folder.join(&entry.name)).collect::<Vec<_>>())?;
        // Last: as long as it is there, the next opening knows that there is something to drop.
        self.vault.remove(&folder.join(plan))?;
        Ok(is_there)
    }

    /// Drops a session that learns from examples that were deleted, or whose plan cannot be read any more if
    /// `or_damaged`; says whether it did.
    pub(super) fn drop_session_of(&mut self, deleted: &IdSet, or_damaged: bool) -> Result<bool> {
        let concerned = match self.read_document::<PlanReferences>(PLAN) {
            Ok(None) => false,
            Ok(Some(plan)) => !plan.train.union(&plan.held_out).intersection(deleted).is_empty(),
            Err(Error::Corrupted { .. } | Error::OtherBuild { .. } | Error::WrongKey { .. }) => or_damaged,
            Err(error) => return Err(error),
        };
        if concerned {
            self.drop_session()?;
        }
        Ok(concerned)
    }

    /// The graft that the session under way starts from.
    pub(super) fn parent_of_session(&self) -> Result<Option<GraftId>> {
        match self.read_document::<PlanReferences>(PLAN) {
            Ok(plan) => Ok(plan.and_then(|plan| plan.parent)),
            Err(Error::Corrupted { .. } | Error::OtherBuild { .. } | Error::WrongKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The largest id that the session's plan speaks of; 0 if there is none that can be read.
    pub(super) fn last_id_of_session(&self) -> Result<u64> {
        match self.read_document::<PlanReferences>(PLAN) {
            Ok(plan) => Ok(plan.and_then(|plan| plan.train.union(&plan.held_out).last()).unwrap_or(0)),
            Err(Error::Corrupted { .. } | Error::OtherBuild { .. } | Error::WrongKey { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// What a deletion that was interrupted has left to do.
    pub(super) fn drop_session_of_deleted(&mut self) -> Result<()> {
        let deleted = self.journal.deleted().clone();
        self.dropped_session |= self.drop_session_of(&deleted, false)?;
        Ok(())
    }

    /// Whether opening or repairing the store dropped a session that learned from deleted examples: a deletion had been
    /// interrupted. Tells it once.
    pub fn take_dropped_session(&mut self) -> bool {
        std::mem::take(&mut self.dropped_session)
    }

    fn document(&self, name: &str) -> Result<PathBuf> {
        let file = file_name(name);
        match place_of(&file) {
            Some(folder) => Ok(self.root.join(folder).join(file)),
            None => Err(self.refused(StoreProblem::DocumentName)),
        }
    }
}

/// Whether this is the file of the session's plan.
pub(super) fn is_plan(path: &Path) -> bool {
    path.file_name().is_some_and(|name| *name == *file_name(PLAN))
}

fn file_name(name: &str) -> String {
    format!("{name}.ngs")
}

/// The folder of a document's file, from the store's root; `None` if it cannot be one.
pub(super) fn place_of(file: &str) -> Option<&'static str> {
    let name = file.strip_suffix(".ngs")?;
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let fits = (1..=32).contains(&name.len()) && name.bytes().all(allowed);
    fits.then(|| if LASTING.contains(&name) { "" } else { SESSION })
}
