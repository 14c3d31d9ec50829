//! How much the store takes, and what goes when that is too much.

use super::Store;
use super::ids::GraftId;
use crate::{Error, Result};

impl Store {
    /// Bytes of all files in the folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bytes_used(&self) -> Result<u64> {
        Ok(self.inventory()?.iter().map(|item| item.bytes).sum())
    }

    /// Makes sure that `needed` more bytes fit into the quota, if there is one. If they do not, grafts go until they
    /// do: first those that never were in use, those that the gate refused before the others, then former ones;
    /// the oldest first of each, and the one that a rollback would go to last. The one in use stays.
    ///
    /// # Errors
    /// [`Error::Quota`] if that is not enough, and then nothing is removed; [`Error::Corrupted`], [`Error::Io`].
    pub fn make_room(&self, needed: u64) -> Result<()> {
        let Some(quota) = self.quota else { return Ok(()) };
        let total = self.bytes_used()?.saturating_add(needed);
        let mut too_much = total.saturating_sub(quota);
        if too_much == 0 {
            return Ok(());
        }
        let mut going = Vec::new();
        for (id, bytes) in self.expendable()? {
            if too_much == 0 {
                break;
            }
            too_much = too_much.saturating_sub(bytes);
            going.push(id);
        }
        if too_much > 0 {
            return Err(Error::Quota { needed: total, quota });
        }
        going.into_iter().try_for_each(|id| self.remove_graft(id))
    }

    /// Every graft that is not in use, with its bytes, the one that is missed least first.
    fn expendable(&self) -> Result<Vec<(GraftId, u64)>> {
        let history = self.history()?;
        let files = self.graft_files()?;
        let exists = |id| files.iter().any(|&(other, _)| other == id);
        let before = history.before(exists);
        let parent = self.parent_of_session()?;
        let passed: Vec<_> =
            self.valid_metas()?.into_iter().filter(|meta| meta.gate.promote).map(|meta| meta.id).collect();
        let worth = |id: GraftId| match id {
            id if Some(id) == before => 3,
            id if history.was_promoted(id) => 2,
            id if passed.contains(&id) => 1,
            _ => 0,
        };
        let mut grafts: Vec<_> = files
            .iter()
            .copied()
            .filter(|&(id, _)| history.current != Some(id) && parent != Some(id))
            .collect();
        grafts.sort_by_key(|&(id, _)| (worth(id), id));
        Ok(grafts)
    }

    /// Removes the oldest grafts until there are not more than those that are kept. `new`, the one in use and the one
    /// before it stay.
    pub(super) fn prune(&self, new: GraftId) -> Result<()> {
        let history = self.history()?;
        let files = self.graft_files()?;
        let exists = |id| files.iter().any(|&(other, _)| other == id);
        let stays = [Some(new), history.current, history.before(exists), self.parent_of_session()?];
        let too_many = files.len().saturating_sub(self.keep);
        let old = files.iter().map(|&(id, _)| id).filter(|&id| !stays.contains(&Some(id)));
        old.take(too_many).try_for_each(|id| self.remove_graft(id))
    }
}
