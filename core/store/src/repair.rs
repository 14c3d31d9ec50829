//! Making a damaged store usable again.

use std::path::PathBuf;

use serde::Serialize;

use super::inventory::{Kind, kind_of};
use super::journal::{Covered, Journal};
use super::{Damage, Store, consistency, documents, header, in_force};
use crate::vault::manifest::{self, Manifest};
use crate::{Inconsistency, Result, StoreProblem};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// What was wrong; the files are gone or were written anew.
    pub repaired: Vec<Damage>,
    /// What is lost by it, and what was left for another build, a sentence each.
    pub lost: Vec<String>,
}

impl Store {
    /// Removes what is damaged and says what is lost. Files that are none of a store's stay. Examples of a damaged
    /// segment are kept as far as they can be read; the others count as deleted.
    ///
    /// A file that was replaced by an earlier version counts as damaged as a whole, because what was deleted must not come
    /// back; one that was put back goes again. If it is the manifest itself, which is lost or of an earlier time, all
    /// files are taken for what they should be.
    ///
    /// Grafts, documents and checkpoints that a later version of this program sealed stay as they are, and are named.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if neither the manifest nor any other file opens with the data keys of the
    /// header: that is no damage but a wrong header, and nothing is changed. [`Error::Io`](crate::Error::Io); calling it
    /// again goes on.
    pub fn repair(&mut self) -> Result<RepairReport> {
        let (later, damaged): (Vec<_>, Vec<_>) =
            self.verify()?.damaged.into_iter().partition(|damage| self.is_for_a_later_build(damage));
        let stays = |damage: Damage| {
            let Damage { path, problem } = damage;
            format!("nothing of {}: {problem}; it stays for the build that wrote it", path.display())
        };
        let mut report =
            RepairReport { repaired: damaged.clone(), lost: later.into_iter().map(stays).collect() };
        if damaged.is_empty() {
            self.drop_session_of_deleted()?;
            return Ok(report);
        }
        let root = self.root.clone();
        let kind = |damage: &Damage| kind_of(&root, &damage.path);
        // What others need comes first.
        if damaged.iter().any(|damage| damage.path == root.join(manifest::NAME)) {
            if in_force::opens_nothing(&self.vault, &root)? {
                return Err(self.refused(StoreProblem::WrongHeader));
            }
            self.tidy()?;
            if !matches!(Manifest::is_there(self.vault.disk(), &root), Ok(true)) {
                // Before a manifest lists a header that is not the store's own.
                self.write_header()?;
            }
            self.rewrite_manifest()?;
            report
                .lost
                .push("what was written last: earlier versions of files cannot be told any more".into());
        }
        if damaged.iter().any(|damage| [header::path(&root), header::copy_path(&root)].contains(&damage.path))
        {
            self.write_header()?;
            if self.header_is_made_up {
                report.lost.push("the seed of the store: sessions choose at random anew".into());
                self.header_is_made_up = false;
            }
        }
        let put_back = self.remove_what_was_put_back()?;
        let damaged: Vec<_> = damaged.into_iter().filter(|damage| !put_back.contains(&damage.path)).collect();
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
                Kind::Header
                | Kind::HeaderCopy
                | Kind::Manifest
                | Kind::History
                | Kind::Segment
                | Kind::Lock
                | Kind::Unknown => {}
            }
        }
        let of_the_journal = |damage: &Damage| damage.path.starts_with(self.journal.folder());
        if damaged.iter().any(of_the_journal) {
            let seen =
                self.valid_metas()?.iter().filter_map(|meta| meta.trained_on.last()).max().unwrap_or(0);
            let seen = seen.max(self.last_id_of_session()?);
            let deleted = self.journal.deleted().len();
            self.journal.rebuild(&self.vault, seen)?;
            let (left, lost) = (self.examples().len(), self.journal.deleted().len().saturating_sub(deleted));
            report.lost.push(format!("examples of the journal, at least {lost}; {left} are left"));
        }
        self.rewrite_manifest()?;
        if !self.journal.damage().is_empty() {
            self.journal = Journal::load(&self.vault, self.journal.folder())?;
        }
        if self.header.is_rotating() {
            self.finish_rotation()?;
        }
        self.drop_session_of_deleted()?;
        Ok(report)
    }

    /// Whether a file cannot be read here because a later version of this program sealed it, and removing it loses something.
    fn is_for_a_later_build(&self, damage: &Damage) -> bool {
        let kind = kind_of(&self.root, &damage.path);
        matches!(kind, Kind::Graft(_) | Kind::Document | Kind::Checkpoint)
            && self.vault.later_version(&damage.path).is_some()
    }

    /// Removes the files that the store had removed once already.
    fn remove_what_was_put_back(&mut self) -> Result<Vec<PathBuf>> {
        let deviations = self.deviations()?.into_iter();
        let put_back: Vec<_> = deviations
            .filter(|deviation| deviation.why == Inconsistency::PutBack)
            .map(|deviation| deviation.path)
            .collect();
        if !put_back.is_empty() {
            self.vault.remove_all(&put_back)?;
            let distrusted: Vec<_> =
                self.deviations()?.into_iter().filter(|left| left.why == Inconsistency::Earlier).collect();
            self.journal =
                Journal::load_without(&self.vault, self.journal.folder(), &distrusted, Covered::Removed)?;
        }
        Ok(put_back)
    }

    /// Takes all files for what they should be.
    fn rewrite_manifest(&self) -> Result<()> {
        let files = consistency::tracked(&self.vault, &self.root)?;
        self.vault.manifest().map_or(Ok(()), |manifest| manifest.rewrite(self.vault.disk(), &files))
    }
}
