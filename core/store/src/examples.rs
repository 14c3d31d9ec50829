//! The journal as others see it: adding, deleting, compacting.

use std::collections::HashMap;

use nightgraft_text::data::check_line;
use serde::Serialize;

use super::clock::unix_seconds;
use super::ids::{ExampleId, GraftId};
use super::{IdSet, Store, StoredExample, segment};
use crate::Result;

/// With so many files the journal is compacted by the next [`Store::add`].
const MAX_SEGMENTS: usize = 64;

/// What a deletion did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeleteReport {
    /// The examples that are gone, by id: those asked for that were there.
    pub deleted: Vec<ExampleId>,
    /// The grafts that learned from one of them, oldest first. They stay; see
    /// [`GraftEntry::trained_on_deleted`](super::GraftEntry::trained_on_deleted).
    pub marked_grafts: Vec<GraftId>,
    /// Whether the unfinished session learned from one of them, and was dropped.
    pub session_dropped: bool,
}

impl Store {
    /// Adds examples in one step; each is one JSON object in one of the shapes that [`nightgraft_text::data`] reads. One
    /// that is there already, byte for byte, is not added again. Returns the id of each line.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) with the number of a line that has no such shape, [`Error::Quota`](crate::Error::Quota), [`Error::Corrupted`](crate::Error::Corrupted),
    /// [`Error::Io`](crate::Error::Io); nothing is added then, or all of it if the disk failed at the last moment:
    /// [`examples`](Self::examples) tells.
    pub fn add(&mut self, lines: &[String]) -> Result<Vec<ExampleId>> {
        let mut checked = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            // Line ends outside of strings mean nothing in JSON, and inside there are none.
            let line = line.trim().replace(['\n', '\r'], " ");
            check_line(&line).map_err(|problem| nightgraft_text::Error::Data {
                path: self.root.clone(),
                line: Some(index + 1),
                problem: problem.into(),
            })?;
            checked.push(line);
        }
        self.add_checked(checked).map(|(ids, _)| ids)
    }

    /// Adds lines that have a good shape; also says how many were new.
    pub(super) fn add_checked(&mut self, lines: Vec<String>) -> Result<(Vec<ExampleId>, usize)> {
        self.journal.settle(&self.vault)?;
        let (mut ids, mut new) = (Vec::with_capacity(lines.len()), Vec::new());
        let mut new_places: HashMap<String, u64> = HashMap::new();
        for line in lines {
            let next = self.journal.next_id().saturating_add(new.len() as u64);
            let id = self.journal.find(&line).or(new_places.get(&line).copied().map(ExampleId));
            ids.push(id.unwrap_or(ExampleId(next)));
            if id.is_none() {
                new_places.insert(line.clone(), next);
                new.push(line);
            }
        }
        drop(new_places);
        if new.is_empty() {
            return Ok((ids, 0));
        }
        let bytes: u64 = new.iter().map(|line| segment::size(line)).sum();
        self.make_room(bytes + FILE_BYTES)?;
        let added = self.journal.append(&self.vault, unix_seconds(), new)?.len();
        if self.journal.n_segments() >= MAX_SEGMENTS
            && let Err(error) = self.journal.compact(&self.vault)
        {
            tracing::warn!(%error, "the journal could not be compacted");
        }
        Ok((ids, added))
    }

    /// The examples that were not deleted, by id.
    pub fn examples(&self) -> &[StoredExample] {
        self.journal.examples()
    }

    /// The ids of all examples that were deleted.
    pub fn deleted(&self) -> &IdSet {
        self.journal.deleted()
    }

    /// Deletes examples in one step. Their text is then in no file of the store: the segments that held it are written
    /// again without it. Ids that are not there are passed over.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::Io`](crate::Error::Io). If the disk failed at the last moment the examples may be gone from
    /// [`examples`](Self::examples) already; what is left of their text is removed by the next opening, or by calling
    /// this again.
    pub fn delete(&mut self, ids: &[ExampleId]) -> Result<DeleteReport> {
        self.journal.settle(&self.vault)?;
        let live: IdSet = self.examples().iter().map(|example| example.id.0).collect();
        let deleted = ids.iter().map(|id| id.0).collect::<IdSet>().intersection(&live);
        let learned_deleted = |meta: &super::GraftMeta| !meta.trained_on.intersection(&deleted).is_empty();
        let marked: Vec<_> = if deleted.is_empty() {
            Vec::new()
        } else {
            self.valid_metas()?.into_iter().filter(learned_deleted).map(|meta| meta.id).collect()
        };
        self.journal.remove(&self.vault, &deleted)?;
        // Of all that were ever deleted: an earlier call may have failed right here.
        let all = self.journal.deleted().clone();
        let session_dropped = self.drop_session_of(&all, !deleted.is_empty())?;
        Ok(DeleteReport {
            deleted: deleted.iter().map(ExampleId).collect(),
            marked_grafts: marked,
            session_dropped,
        })
    }

    /// Puts the whole journal into one file, which opens faster. [`add`](Self::add) does this from time to time.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::Io`](crate::Error::Io); no example is lost then.
    pub fn compact(&mut self) -> Result<()> {
        self.journal.settle(&self.vault)?;
        self.journal.compact(&self.vault)
    }
}

/// What a file takes besides its content, generously.
pub(super) const FILE_BYTES: u64 = 512;
