//! The hashes of the models that a store has learned with.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use nightgraft_store::Error as StoreError;
use nightgraft_store::{MODELS, Store};

use super::OnChange;
use crate::Result;
use crate::base::Base;
use crate::model_file::{FileHash, HashCheck, ModelFile};

/// A store has one model, as a rule.
const MAX_MODELS: usize = 16;

/// Begins to hash all of the model, which has to have the bytes that the store knows, unless it may be another one.
pub(super) fn check(store: &Store, base: &Base, on_change: OnChange) -> Result<HashCheck> {
    let known = known(store)?.into_iter().find(|hash| hash.fingerprint == *base.fingerprint());
    let binding = known.filter(|hash| on_change == OnChange::Refuse || hash.is_of(base.file()));
    HashCheck::start(base.file(), binding)
}

/// Reads all of a model and compares it with what the store knows of it; remembers it where the store knows nothing.
///
/// # Errors
/// [`Error::ModelChanged`](crate::Error::ModelChanged) if it has other bytes; those of files that cannot be used.
pub fn verify_model(store: &Store, model: &Path) -> Result<()> {
    let base = Base::open(ModelFile::open(model)?)?;
    match check(store, &base, OnChange::Refuse)?.wait(&AtomicBool::new(false))? {
        Some(hash) => remember(store, hash),
        None => Ok(()), // the very file was hashed before
    }
}

/// Remembers what was found out.
pub(super) fn remember(store: &Store, hash: FileHash) -> Result<()> {
    let mut models = known(store)?;
    models.retain(|other| other.fingerprint != hash.fingerprint);
    models.drain(..models.len().saturating_sub(MAX_MODELS - 1));
    models.push(hash);
    Ok(store.write_document(MODELS, &models)?)
}

/// # Errors
/// [`StoreError::OtherBuild`] for what another build remembers: it is not overwritten.
fn known(store: &Store) -> Result<Vec<FileHash>> {
    match store.read_document(MODELS) {
        Err(StoreError::Corrupted { .. }) => Ok(Vec::new()), // hashed again
        read => Ok(read?.unwrap_or_default()),
    }
}
