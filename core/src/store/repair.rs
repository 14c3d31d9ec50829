//! Making a damaged store usable again.

use serde::Serialize;

use super::inventory::Kind;
use super::{Damage, Store, documents};
use crate::Result;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// What was wrong; the files are gone or were written anew.
    pub repaired: Vec<Damage>,
    /// What is lost by it, a sentence each.
    pub lost: Vec<String>,
}

impl Store {
    /// Removes what is damaged and says what is lost. Files that are none of a store's stay. Examples of a damaged
    /// segment are kept as far as they can be read; the others count as deleted.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); calling it again goes on.
    pub fn repair(&mut self) -> Result<RepairReport> {
        let damaged = self.verify()?.damaged;
        let mut report = RepairReport { repaired: damaged.clone(), lost: Vec::new() };
        let kinds = self.inventory()?;
        let kind = |damage: &Damage| {
            kinds.iter().find(|item| item.path == damage.path).map_or(Kind::Unknown, |item| item.kind)
        };
        // What others need comes first.
        let header = super::header::path(&self.root);
        if damaged.iter().any(|damage| damage.path == header) {
            self.header.write(&self.plain, &self.root)?;
            report.lost.push("the seed of the store: sessions choose at random anew".into());
        }
        if damaged.iter().any(|damage| kind(damage) == Kind::History) {
            self.vault.remove(&self.history_path())?;
            report.lost.push("which graft was in use: the base is, until one is promoted".into());
        }
        for damage in &damaged {
            match kind(damage) {
                Kind::Graft(id) => {
                    if self.current()? == Some(id) {
                        let now = self.rollback()?.map_or("the base".into(), |id| format!("graft {id}"));
                        report.lost.push(format!("graft {id}, which was in use: {now} is now"));
                    } else {
                        report.lost.push(format!("graft {id}"));
                    }
                    self.remove_graft(id)?;
                }
                Kind::Document if documents::is_plan(&damage.path) => {
                    self.drop_session()?;
                    report.lost.push("the unfinished session".into());
                }
                Kind::Document => {
                    self.vault.remove(&damage.path)?;
                    let name = damage.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    report.lost.push(format!("the document {name}"));
                }
                Kind::Checkpoint => {
                    self.vault.remove(&damage.path)?;
                    report.lost.push(
                        "a checkpoint: the session goes on from the one before, if there is one".into(),
                    );
                }
                Kind::Header | Kind::History | Kind::Segment | Kind::Lock | Kind::Unknown => {}
            }
        }
        let of_the_journal = |damage: &Damage| damage.path.starts_with(self.journal.folder());
        if damaged.iter().any(of_the_journal) {
            let seen = self.sound_metas()?.iter().filter_map(|meta| meta.saw.last()).max().unwrap_or(0);
            let seen = seen.max(self.last_id_of_session()?);
            let deleted = self.journal.deleted().len();
            self.journal.rebuild(&self.vault, seen)?;
            let (left, lost) = (self.examples().len(), self.journal.deleted().len().saturating_sub(deleted));
            report.lost.push(format!("examples of the journal, at least {lost}; {left} are left"));
        }
        if self.header.is_rotating() {
            self.finish_rotation()?;
        }
        self.drop_session_of_deleted()?;
        Ok(report)
    }
}
