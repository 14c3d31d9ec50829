//! All bytes of the models that a store has learned with.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::OnChange;
use crate::base::Base;
use crate::gguf::{self, WholeCheck, WholeFile};
use crate::store::{MODELS, Store};
use crate::{Error, Result};

/// A store has one model, as a rule.
const MAX_MODELS: usize = 16;

/// Begins to look at all of the model, which has to have the bytes that the store knows, unless it may be another one.
pub(super) fn check(store: &Store, base: &Base, on_change: OnChange) -> Result<WholeCheck> {
    let known = known(store)?.into_iter().find(|whole| whole.fingerprint == *base.fingerprint());
    let binding = known.filter(|whole| on_change == OnChange::Refuse || whole.is_of(base.file()));
    WholeCheck::start(base.file(), binding)
}

/// Reads all of a model and compares it with what the store knows of it; remembers it where the store knows nothing.
///
/// # Errors
/// [`Error::ModelChanged`] if it has other bytes; those of files that cannot be used.
pub fn verify_model(store: &Store, model: &Path) -> Result<()> {
    let base = Base::open(gguf::File::open(model)?)?;
    match check(store, &base, OnChange::Refuse)?.wait(&AtomicBool::new(false))? {
        Some(whole) => remember(store, whole),
        None => Ok(()), // the very file was hashed before
    }
}

/// Remembers what was found out.
pub(super) fn remember(store: &Store, whole: WholeFile) -> Result<()> {
    let mut models = known(store)?;
    models.retain(|other| other.fingerprint != whole.fingerprint);
    models.drain(..models.len().saturating_sub(MAX_MODELS - 1));
    models.push(whole);
    store.write_document(MODELS, &models)
}

/// # Errors
/// [`Error::OtherBuild`] for what another build remembers: it is not overwritten.
fn known(store: &Store) -> Result<Vec<WholeFile>> {
    match store.read_document(MODELS) {
        Err(Error::Corrupted { .. }) => Ok(Vec::new()), // hashed again
        read => Ok(read?.unwrap_or_default()),
    }
}
