//! Forgetting: examples go, and so does what was learned from them.
//!
//! The examples themselves go last. As long as one is listed it is not forgotten yet, and a call that was interrupted can be
//! made again; once it is not listed any more, nothing in the store knows of it.

use serde::Serialize;

use super::graft_file;
use super::ids::{ExampleId, GraftId};
use super::{IdSet, Store, sealed};
use crate::Result;

/// What forgetting did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    /// The examples that are gone, by id: those asked for that were there.
    pub deleted: Vec<ExampleId>,
    /// The grafts that are gone because they learned from one of them, oldest first.
    pub deleted_grafts: Vec<GraftId>,
    /// The graft in use now; `None` if it is the base itself.
    pub current: Option<GraftId>,
    /// Whether the unfinished session knew one of them, and was dropped.
    pub session_dropped: bool,
}

impl Store {
    /// Deletes examples, and everything that was learned from them: from here on the graft that was in use last and never saw
    /// them is in use, or the base; grafts that saw them are deleted, and so is an unfinished session that did. A graft that
    /// cannot be read counts as one that saw them. The next session learns what is left from there.
    ///
    /// Examples that were [deleted](Self::delete) before may be among them: then the grafts go that still know them. Ids that
    /// were never given are passed over.
    ///
    /// # Errors
    /// As [`delete`](Self::delete). The examples are the last to go: as long as one is there, calling this again goes on.
    pub fn forget(&mut self, ids: &[ExampleId]) -> Result<ForgetReport> {
        self.journal.settle(&self.vault)?;
        let given = IdSet::from_range(1, self.journal.next_id() - 1);
        let forgotten = ids.iter().map(|id| id.0).collect::<IdSet>().intersection(&given);
        let knowing = self.grafts_that_may_know(&forgotten)?;
        let mut history = self.history()?;
        if history.current.is_some_and(|current| knowing.contains(&current)) {
            let readable = self.readable_grafts()?;
            history.roll_back(|id| readable.contains(&id) && !knowing.contains(&id));
            self.write_history(&history)?;
        }
        let started_from = self.parent_of_session()?;
        let session_dropped = if started_from.is_some_and(|parent| knowing.contains(&parent)) {
            self.drop_session()?
        } else {
            self.drop_session_of(&forgotten, !forgotten.is_empty())?
        };
        for &id in &knowing {
            self.remove_graft(id)?;
        }
        let report = self.delete(ids)?;
        Ok(ForgetReport {
            deleted: report.deleted,
            deleted_grafts: knowing,
            current: history.current,
            session_dropped: session_dropped || report.session_dropped,
        })
    }

    /// The grafts that were trained on one of these examples, or cannot say whether they were.
    fn grafts_that_may_know(&self, examples: &IdSet) -> Result<Vec<GraftId>> {
        let mut knowing = Vec::new();
        if examples.is_empty() {
            return Ok(knowing);
        }
        for (id, _) in self.graft_files()? {
            let meta = sealed::damage(graft_file::read_meta(&self.vault, &self.graft_path(id), id))?;
            if meta.map_or(true, |meta| !meta.trained_on.intersection(examples).is_empty()) {
                knowing.push(id);
            }
        }
        Ok(knowing)
    }
}
