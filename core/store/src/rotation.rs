//! Another key for an encrypted store.
//!
//! The new header, with a new data key beside the old one and both under the app's new key, is the moment of the
//! change: before it only the old key opens the store, after it only the new one. Then every file is written again, one
//! after the other; whichever data key a file is under, the store can read it. At last the header forgets the old
//! data key. Whoever had the old key can open nothing any more, not even with an old copy of the header.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::header::{FoundHeader, StoreHeader};
use crate::vault::{Key, Vault, manifest};
use crate::{Error, Result, StoreProblem};

impl Store {
    /// Makes `new` the key of the store, and writes every file again under a new data key. A process that is killed in the
    /// middle leaves a store that one of the two keys opens; if it is the new one, the opening finishes the change. Keep
    /// both until this has returned, and open with both after a crash ([`StoreOptions::former_key`](crate::StoreOptions)).
    ///
    /// Clones of [`vault`](Self::vault) from before must not be used any more.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store is not encrypted; [`Error::Corrupted`] if a file is damaged: nothing is changed
    /// then, see [`repair`](Self::repair); [`Error::Io`].
    pub fn rotate_key(&mut self, new: Key) -> Result<()> {
        self.journal.settle(&self.vault)?;
        let Some(old) = &self.key else { return Err(self.refused(StoreProblem::NoKeyToChange)) };
        if self.header.is_rotating() {
            self.finish_rotation()?;
            return self.rotate_key(new);
        }
        if let Some(damage) = self.verify()?.damaged.into_iter().next() {
            return Err(Error::Corrupted { path: damage.path, problem: damage.problem });
        }
        let header = self.header.with_another_key(old, &new, &self.root)?;
        let written = self.vault.put(header.writers(&self.plain, &self.root)?, &[]);
        // A failure may have come after the header was in its place.
        let is_it = |found: Option<FoundHeader>| found.is_some_and(|found| found.header == header);
        if written.is_ok() || StoreHeader::read(&self.plain, &self.root).is_ok_and(is_it) {
            self.take_keys(&header, &new)?;
            self.header = header;
            self.key = Some(new);
        }
        written?;
        self.finish_rotation()
    }

    /// Whether `key` is the one that opens the store now: after a change of the key that failed it may be either of the two.
    pub fn is_opened_by(&self, key: &Key) -> bool {
        self.header.is_opened_by(key, &self.root)
    }

    /// Moves every file to the newest data key and forgets the other one.
    ///
    /// # Errors
    /// [`Error::Corrupted`], [`Error::Io`]; then both keys are still known, and the next call goes on.
    pub(super) fn finish_rotation(&mut self) -> Result<()> {
        let newest = self.header.current_key_id();
        for item in self.inventory()? {
            if let Some(role) = item.kind.role()
                && self.vault.key_id(&item.path)? != newest
            {
                seal_again(&self.vault, &item.path, role)?;
            }
        }
        if let Some(manifest) = self.vault.manifest()
            && self.vault.key_id(&self.root.join(manifest::NAME))? != newest
        {
            manifest.reseal(self.vault.disk())?;
        }
        let Some(key) = self.key.take() else { return Err(Error::NoKey { path: self.root.clone() }) };
        let finished = self.forget_old_key(&key);
        self.key = Some(key);
        finished
    }

    fn forget_old_key(&mut self, key: &Key) -> Result<()> {
        let header = self.header.without_old_key(key, &self.root)?;
        self.vault.put(header.writers(&self.plain, &self.root)?, &[])?;
        self.take_keys(&header, key)?;
        self.header = header;
        Ok(())
    }

    /// Goes on with the data keys of `header`.
    fn take_keys(&mut self, header: &StoreHeader, key: &Key) -> Result<()> {
        let vault = header.vault(&self.plain, Some(key), &self.root)?;
        self.vault = match self.vault.manifest() {
            Some(manifest) => vault.with_manifest(Arc::clone(manifest)),
            None => vault,
        };
        Ok(())
    }
}

/// Reads a file and writes it in its own place.
fn seal_again(vault: &Vault, path: &Path, role: &'static str) -> Result<()> {
    let mut from = vault.open(path, role)?;
    let mut to = vault.create(path, role)?;
    // Errors of both are the vault's own and come back as what they are.
    std::io::copy(&mut from, &mut to).map_err(|error| to.error(error))?;
    from.finish()?;
    vault.put(vec![to], &[])
}
