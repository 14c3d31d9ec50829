//! Adapters that people bring.

use std::path::Path;

use nightgraft_adapter::AdapterTensors;

use super::notice::Notice;
use super::run_folder::BaseNote;
use crate::base::Base;
use crate::error::OtherBase;
use crate::export::{ImportedAdapter, import_adapter};
use crate::{Error, Result};

/// An adapter, and how it shows that it was trained on another model, if it does.
fn read(path: &Path, base: &Base) -> Result<(AdapterTensors, Option<OtherBase>)> {
    let ImportedAdapter { tensors, base: mut recorded } = import_adapter(path, base)?;
    if recorded.fingerprint.is_none() {
        recorded.fingerprint = BaseNote::beside(path).map(|note| note.fingerprint.to_string());
    }
    Ok((tensors, recorded.other_than(base)))
}

/// An adapter, with a notice if it was trained on another model: a person may know why.
///
/// # Errors
/// As [`import_adapter`].
pub(super) fn read_with_notice(path: &Path, base: &Base) -> Result<(AdapterTensors, Option<Notice>)> {
    let (tensors, other_base) = read(path, base)?;
    Ok((tensors, other_base.map(Notice::OtherBase)))
}

/// An adapter of this base and no other.
///
/// # Errors
/// As [`import_adapter`]; [`Error::Adapter`] if it says that it was trained on another model.
pub(super) fn read_or_refuse(path: &Path, base: &Base) -> Result<AdapterTensors> {
    match read(path, base)? {
        (tensors, None) => Ok(tensors),
        (_, Some(other)) => Err(Error::adapter(path, other)),
    }
}
