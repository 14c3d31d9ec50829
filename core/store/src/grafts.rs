//! The versions of the adapter: adding, listing, switching.

use std::path::PathBuf;

use nightgraft_adapter::AdapterTensors;
use nightgraft_gguf::Fingerprint;
use serde::Serialize;

use super::clock::unix_seconds;
use super::folders::{GRAFTS, list};
use super::graft_file::{self, Graft, GraftMeta, NewGraft};
use super::history::History;
use super::ids::{ExampleId, GraftId};
use super::{Store, sealed};
use crate::{Error, FileProblem, Result, StoreProblem};

/// The file that says which graft is in use.
pub(super) const HISTORY: &str = "current.ngs";
/// What it is sealed as.
pub(super) const HISTORY_ROLE: &str = "current";
const MAX_HISTORY_BYTES: u64 = 16 << 20;

/// What a graft is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GraftStatus {
    /// In use.
    Current,
    /// Was in use before.
    Former,
    /// The gate let it pass, and it was never in use.
    Candidate,
    /// The gate refused it, and it was never in use.
    Refused,
    /// Its file cannot be read.
    Damaged,
}

/// A line of the list of grafts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraftEntry {
    /// Its number.
    pub id: GraftId,
    /// Bytes of its file.
    pub bytes: u64,
    /// What it is good for.
    pub status: GraftStatus,
    /// What is known of it; `None` if it is damaged.
    pub meta: Option<GraftMeta>,
    /// The deleted examples that it or one of its ancestors was trained on.
    #[serde(rename = "saw_deleted")]
    pub trained_on_deleted: Vec<ExampleId>,
    /// Why it cannot be read.
    pub problem: Option<FileProblem>,
}

impl Store {
    /// All grafts, oldest first. Each is read to its end, so that a damaged one shows.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if it cannot be read which one is in use, [`Error::Io`].
    pub fn grafts(&self) -> Result<Vec<GraftEntry>> {
        let history = self.history()?;
        let mut entries = Vec::new();
        for (id, bytes) in self.graft_files()? {
            let read = graft_file::read(&self.vault, &self.graft_path(id), id);
            let (meta, problem) = match sealed::damage(read)? {
                Ok(graft) => (Some(graft.meta), None),
                Err(problem) => (None, Some(problem)),
            };
            let status = match &meta {
                None => GraftStatus::Damaged,
                Some(_) if history.current == Some(id) => GraftStatus::Current,
                Some(_) if history.was_promoted(id) => GraftStatus::Former,
                Some(meta) if meta.gate.promote => GraftStatus::Candidate,
                Some(_) => GraftStatus::Refused,
            };
            let trained_on_deleted = meta.as_ref().map_or(Vec::new(), |meta| {
                meta.trained_on.intersection(self.deleted()).iter().map(ExampleId).collect()
            });
            entries.push(GraftEntry { id, bytes, status, meta, trained_on_deleted, problem });
        }
        Ok(entries)
    }

    /// Reads a graft.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none of that number, [`Error::Corrupted`], [`Error::Io`].
    pub fn graft(&self, id: GraftId) -> Result<Graft> {
        self.check_exists(id)?;
        graft_file::read(&self.vault, &self.graft_path(id), id)
    }

    /// The graft in use; `None` if it is the base itself.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if that cannot be read, [`Error::Io`].
    pub fn current(&self) -> Result<Option<GraftId>> {
        Ok(self.history()?.current)
    }

    /// The model that the graft in use was trained on; `None` if none is in use. No other model's grafts can be
    /// promoted then.
    ///
    /// # Errors
    /// As [`graft`](Self::graft).
    pub fn base(&self) -> Result<Option<Fingerprint>> {
        self.current()?.map(|id| self.meta(id).map(|meta| meta.base)).transpose()
    }

    /// Puts a trained adapter into the store, and removes the oldest ones beyond those that are kept. It is not in use
    /// before it is [promoted](Self::promote).
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such parent or it is of another base model, or if the numbers do
    /// not have the adapter's shapes, [`Error::Quota`], [`Error::Io`].
    pub fn add_graft(&mut self, meta: NewGraft, adapter: &AdapterTensors) -> Result<GraftId> {
        let NewGraft { base, parent, mut trained_on, steps, best_step, tokens, settings, gate } = meta;
        if let Some(parent) = parent {
            let meta = self.meta(parent)?;
            if meta.base != base {
                return Err(self.refused(StoreProblem::OtherBaseThanParent { parent }));
            }
            trained_on = trained_on.union(&meta.trained_on);
        }
        let largest = self.graft_files()?.last().map_or(0, |(id, _)| id.0);
        let id = self.history()?.next_id(largest);
        let id = id.ok_or_else(|| self.refused(StoreProblem::NoGraftNumberLeft))?;
        let created = unix_seconds();
        let meta =
            GraftMeta { id, base, created, parent, trained_on, steps, best_step, tokens, settings, gate };
        self.make_room(graft_file::size(&meta, adapter))?;
        graft_file::write(&self.vault, &self.graft_path(id), &meta, adapter)?;
        // The graft is safe; that there is one too many can wait.
        if let Err(error) = self.prune(id) {
            tracing::warn!(%error, "an old graft could not be removed");
        }
        Ok(id)
    }

    /// Takes a graft into use.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such graft, if the gate refused it (see
    /// [`promote_anyway`](Self::promote_anyway)), or if the one in use is of another base model;
    /// [`Error::Corrupted`], [`Error::Io`].
    pub fn promote(&mut self, id: GraftId) -> Result<()> {
        self.check_exists(id)?;
        if !self.meta(id)?.gate.promote && !self.history()?.was_promoted(id) {
            return Err(self.refused(StoreProblem::RefusedByGate(id)));
        }
        self.promote_anyway(id)
    }

    /// Takes a graft into use, whatever the gate said of it.
    ///
    /// # Errors
    /// As [`promote`](Self::promote).
    pub fn promote_anyway(&mut self, id: GraftId) -> Result<()> {
        // All of it: a damaged adapter must not get into use.
        let base = self.graft(id)?.meta.base;
        let mut history = self.history()?;
        if let Some(current) = history.current.filter(|&current| current != id) {
            // One that is damaged or gone is no reason to keep out its successor.
            let in_use = match self.meta(current) {
                Err(Error::Refused { .. }) => None,
                read => sealed::damage(read)?.ok(),
            };
            if in_use.is_some_and(|meta| meta.base != base) {
                return Err(self.refused(StoreProblem::OtherBaseThanCurrent { graft: id, current }));
            }
        }
        history.promote(id);
        self.write_history(&history)
    }

    /// Goes back to the graft that was in use before, or to the base, and returns which. Damaged ones are passed over.
    ///
    /// # Errors
    /// [`Error::Refused`] if the base is in use, [`Error::Corrupted`], [`Error::Io`].
    pub fn rollback(&mut self) -> Result<Option<GraftId>> {
        let mut history = self.history()?;
        if history.current.is_none() {
            return Err(self.refused(StoreProblem::NothingInUse));
        }
        let readable = self.readable_grafts()?;
        history.roll_back(|id| readable.contains(&id));
        self.write_history(&history)?;
        Ok(history.current)
    }

    /// Removes a graft that is not in use.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such graft or it is in use, [`Error::Corrupted`], [`Error::Io`].
    pub fn delete_graft(&mut self, id: GraftId) -> Result<()> {
        self.check_exists(id)?;
        if self.current()? == Some(id) {
            return Err(self.refused(StoreProblem::InUse(id)));
        }
        self.remove_graft(id)
    }

    /// Removes a graft's file. Its number is never given again.
    pub(super) fn remove_graft(&self, id: GraftId) -> Result<()> {
        let mut history = self.history()?;
        if history.note_given(id) {
            self.write_history(&history)?;
        }
        self.vault.remove(&self.graft_path(id))
    }

    /// What is known of a graft; its numbers are not read.
    ///
    /// # Errors
    /// As [`graft`](Self::graft).
    pub fn meta(&self, id: GraftId) -> Result<GraftMeta> {
        self.check_exists(id)?;
        graft_file::read_meta(&self.vault, &self.graft_path(id), id)
    }

    /// What is known of all grafts of which that can be read, oldest first.
    pub(super) fn valid_metas(&self) -> Result<Vec<GraftMeta>> {
        let mut metas = Vec::new();
        for (id, _) in self.graft_files()? {
            metas.extend(sealed::damage(graft_file::read_meta(&self.vault, &self.graft_path(id), id))?.ok());
        }
        Ok(metas)
    }

    /// The grafts that can be read to their ends.
    pub(super) fn readable_grafts(&self) -> Result<Vec<GraftId>> {
        let mut readable = Vec::new();
        for (id, _) in self.graft_files()? {
            let read = graft_file::read(&self.vault, &self.graft_path(id), id).map(drop);
            match sealed::damage(read)? {
                Ok(()) => readable.push(id),
                Err(problem) => tracing::warn!(graft = %id, %problem, "passing over a damaged graft"),
            }
        }
        Ok(readable)
    }

    /// The grafts with the bytes of their files, oldest first.
    pub(super) fn graft_files(&self) -> Result<Vec<(GraftId, u64)>> {
        let entries = list(self.vault.fs(), &self.root.join(GRAFTS))?;
        let named = entries.iter().filter(|entry| !entry.is_dir);
        let mut grafts: Vec<_> =
            named.filter_map(|entry| Some((graft_file::id_of(entry.name.to_str()?)?, entry.len))).collect();
        grafts.sort_unstable();
        Ok(grafts)
    }

    pub(super) fn graft_path(&self, id: GraftId) -> PathBuf {
        self.root.join(GRAFTS).join(graft_file::file_name(id))
    }

    pub(super) fn history_path(&self) -> PathBuf {
        self.root.join(HISTORY)
    }

    /// Which graft is in use, and which were before.
    pub(super) fn history(&self) -> Result<History> {
        let path = self.history_path();
        if self.vault.fs().metadata(&path).map_err(Error::io("open", &path))?.is_none() {
            return Ok(History::default());
        }
        let bytes = self.vault.read(&path, HISTORY_ROLE, MAX_HISTORY_BYTES)?;
        let history: History = serde_json::from_slice(&bytes)
            // The kind of error alone: its words could quote the file.
            .map_err(|error| {
                let problem = FileProblem::Content { category: error.classify(), column: None };
                sealed::corrupted(&path, problem)
            })?;
        match history.problem() {
            None => Ok(history),
            Some(problem) => Err(Error::Corrupted { path, problem }),
        }
    }

    pub(super) fn write_history(&self, history: &History) -> Result<()> {
        let bytes = serde_json::to_vec(history).expect("numbers serialize");
        self.vault.write(&self.history_path(), HISTORY_ROLE, &bytes)
    }

    fn check_exists(&self, id: GraftId) -> Result<()> {
        let path = self.graft_path(id);
        match self.vault.fs().metadata(&path).map_err(Error::io("open", &path))? {
            Some(entry) if !entry.is_dir => Ok(()),
            _ => Err(self.refused(StoreProblem::NoGraft(id))),
        }
    }
}
