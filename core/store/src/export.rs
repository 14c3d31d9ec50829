//! Handing a person's examples out.

use std::path::Path;

use nightgraft_files::atomic::AtomicFile;

use super::Store;
use crate::{Result, StoreProblem};

impl Store {
    /// Writes all examples that were not deleted to a `.jsonl` file, one a line, as [`import`](Self::import) reads them;
    /// whole or not at all, in place of a former file of that name. The file is not encrypted. Returns how many there are.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) if the journal is damaged: some would be missing;
    /// [`Error::Refused`](crate::Error::Refused) for a file in the store's own folder; [`Error::Io`](crate::Error::Io).
    pub fn export_examples(&self, to: &Path) -> Result<u64> {
        self.journal.check()?;
        if self.is_inside(to) {
            return Err(self.refused(StoreProblem::ExportInside));
        }
        let mut file = AtomicFile::create_in(self.vault.fs(), to)?;
        for example in self.examples() {
            file.write(example.line.as_bytes())?;
            file.write(b"\n")?;
        }
        file.commit()?;
        Ok(self.examples().len() as u64)
    }

    /// Whether a file would be in the store's folder, as far as its own folder is there.
    fn is_inside(&self, file: &Path) -> bool {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let real = |path: &Path| path.canonicalize().ok();
        real(parent).zip(real(&self.root)).is_some_and(|(parent, root)| parent.starts_with(root))
    }
}
