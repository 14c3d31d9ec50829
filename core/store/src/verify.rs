//! Reading every byte.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::IgnoredAny;

use super::header::StoreHeader;
use super::inventory::{Item, Kind};
use super::{Store, documents, graft_file, header, journal, sealed};
use crate::vault::manifest;
use crate::{Error, FileProblem, Result};

/// A file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file; the folder if what is wrong is not in one file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: FileProblem,
}

/// What reading all files has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Files of the store, damaged ones included.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wrong, by file.
    pub damaged: Vec<Damage>,
    /// Files in the folder that are none of a store's.
    pub unknown: Vec<PathBuf>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_valid(&self) -> bool {
        self.damaged.is_empty()
    }
}

impl Store {
    /// Reads all files to their ends and checks what they say.
    ///
    /// # Errors
    /// [`Error::Io`]; damage is no error but part of the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        for item in self.inventory()? {
            match item.kind {
                Kind::Unknown => report.unknown.push(item.path),
                Kind::Lock => {}
                _ => {
                    report.files += 1;
                    report.bytes += item.bytes;
                    if let Err(problem) = sealed::damage(self.verify_item(&item))? {
                        report.damaged.push(Damage { path: item.path, problem });
                    }
                }
            }
        }
        for path in [header::path(&self.root), header::copy_path(&self.root), self.root.join(manifest::NAME)]
        {
            if self.plain.fs().metadata(&path).map_err(Error::io("open", &path))?.is_none() {
                report.damaged.push(Damage { path, problem: FileProblem::Missing });
            }
        }
        let deviations =
            self.deviations()?.into_iter().map(|deviation| (deviation.path, deviation.why.into()));
        for (path, problem) in deviations.chain(self.journal.damage().iter().cloned()) {
            if report.damaged.iter().all(|damage| damage.path != path) {
                report.damaged.push(Damage { path, problem });
            }
        }
        Ok(report)
    }

    fn verify_item(&self, item: &Item) -> Result<()> {
        let Item { path, kind, .. } = item;
        match *kind {
            Kind::Header | Kind::HeaderCopy => match StoreHeader::read_one(&self.plain, &self.root, path)? {
                Some(header) if header == self.header => Ok(()),
                _ => Err(sealed::corrupted(path, FileProblem::Replaced)),
            },
            Kind::Manifest => self.verify_manifest(path),
            Kind::Segment => match journal::read(&self.vault, path)?.1 {
                Ok(()) => Ok(()),
                Err(problem) => Err(sealed::corrupted(path, problem)),
            },
            Kind::Graft(id) => graft_file::read(&self.vault, path, id).map(drop),
            Kind::History => self.verify_history(path),
            Kind::Document => {
                let bytes = self.vault.read(path, documents::ROLE, documents::MAX_BYTES)?;
                match serde_json::from_slice::<IgnoredAny>(&bytes) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(sealed::corrupted(path, FileProblem::NotJson)),
                }
            }
            Kind::Checkpoint => {
                kind.role().map_or(Ok(()), |role| sealed::read_to_end(&self.vault, path, role))
            }
            Kind::Lock | Kind::Unknown => Ok(()),
        }
    }

    fn verify_manifest(&self, path: &Path) -> Result<()> {
        match self.vault.manifest() {
            Some(manifest)
                if path.ends_with(manifest::NAME) && !manifest.is_on_disk(self.vault.disk())? =>
            {
                Err(sealed::corrupted(path, FileProblem::Replaced))
            }
            _ => Ok(()),
        }
    }

    fn verify_history(&self, path: &Path) -> Result<()> {
        let history = self.history()?;
        let missing = match history.current {
            None => None,
            Some(id) => (!self.graft_files()?.iter().any(|&(other, _)| other == id)).then_some(id),
        };
        match missing {
            None => Ok(()),
            Some(id) => Err(sealed::corrupted(path, FileProblem::MissingGraft(id))),
        }
    }
}
