//! Reading a store beside the one who works with it.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::ids::GraftId;
use super::{Graft, GraftEntry, Store, StoredExample, VerifyReport};
use crate::Result;

/// A look at a [`Store`] that changes nothing, from any thread, while whoever has the store adds grafts and saves a session.
///
/// Examples are those that there were when it was made; everything else is as it is now. Whoever has the store must not change
/// its key meanwhile: after that, a reader that was made before is of no use any more.
#[derive(Debug)]
pub struct StoreReader(Store);

impl Store {
    /// A reader of the store as it is now.
    pub fn reader(&self) -> StoreReader {
        StoreReader(Store {
            root: self.root.clone(),
            vault: self.vault.clone(),
            plain: self.plain.clone(),
            header: self.header.clone(),
            header_is_made_up: self.header_is_made_up,
            key: None,
            journal: self.journal.for_readers(),
            quota: None,
            keep: self.keep,
            dropped_session: false,
            _lock: None,
        })
    }
}

impl StoreReader {
    /// The store's folder.
    pub fn root(&self) -> &Path {
        self.0.root()
    }

    /// The examples that were not deleted, by id.
    pub fn examples(&self) -> &[StoredExample] {
        self.0.examples()
    }

    /// As [`Store::export_examples`].
    ///
    /// # Errors
    /// As [`Store::export_examples`].
    pub fn export_examples(&self, to: &Path) -> Result<u64> {
        self.0.export_examples(to)
    }

    /// As [`Store::grafts`], all of one moment.
    ///
    /// # Errors
    /// As [`Store::grafts`].
    pub fn grafts(&self) -> Result<Vec<GraftEntry>> {
        self.at_one_moment(Store::grafts)
    }

    /// As [`Store::graft`].
    ///
    /// # Errors
    /// As [`Store::graft`].
    pub fn graft(&self, id: GraftId) -> Result<Graft> {
        self.at_one_moment(|store| store.graft(id))
    }

    /// As [`Store::current`].
    ///
    /// # Errors
    /// As [`Store::current`].
    pub fn current(&self) -> Result<Option<GraftId>> {
        self.0.current()
    }

    /// The graft in use, read; `None` if it is the base itself.
    ///
    /// # Errors
    /// Those of [`Store::current`] and [`Store::graft`].
    pub fn current_graft(&self) -> Result<Option<Graft>> {
        self.at_one_moment(|store| store.current()?.map(|id| store.graft(id)).transpose())
    }

    /// As [`Store::bytes_used`].
    ///
    /// # Errors
    /// As [`Store::bytes_used`].
    pub fn bytes_used(&self) -> Result<u64> {
        self.0.bytes_used()
    }

    /// As [`Store::read_document`].
    ///
    /// # Errors
    /// As [`Store::read_document`].
    pub fn read_document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.0.read_document(name)
    }

    /// As [`Store::verify`]. A file that is replaced or removed while it is read looks damaged, or is an error: only what
    /// [`Store::verify`] says of it is certain. A store in which nothing looks damaged is valid.
    ///
    /// # Errors
    /// As [`Store::verify`].
    pub fn verify(&self) -> Result<VerifyReport> {
        self.0.verify()
    }

    /// Reads grafts, and reads them again if one came, went or was promoted meanwhile. No number of a graft is ever given
    /// twice, and nothing in its file changes.
    fn at_one_moment<T>(&self, read: impl Fn(&Store) -> Result<T>) -> Result<T> {
        let moment = || Ok::<_, crate::Error>((self.0.history()?, self.0.graft_files()?));
        loop {
            let before = moment()?;
            let result = read(&self.0);
            if moment()? == before {
                return result;
            }
        }
    }
}
