//! A graft in a form that other programs read.

use std::path::Path;

use nightgraft_store::{Error as StoreError, GraftId, StoreProblem, StoreReader};

use crate::Result;
use crate::base::Base;
use crate::export::{Target, is_own_gguf_adapter, is_own_peft, write_gguf_adapter, write_peft};
use crate::model_file::ModelFile;

/// The form that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraftFormat {
    /// A folder for Hugging Face PEFT.
    Peft,
    /// An adapter file for llama.cpp.
    Gguf,
}

/// Writes a graft to `out`, not encrypted, for use with its `model`.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if what is at `out` is the model, or nothing that an earlier export wrote;
/// [`Refused`](StoreError::Refused) if `model` is not the one that the graft was trained on; those of
/// [`StoreReader::graft`] and of [`export`](super::export()).
pub fn export_graft(
    store: &StoreReader,
    id: GraftId,
    to: GraftFormat,
    model: &Path,
    out: &Path,
) -> Result<()> {
    let graft = store.graft(id)?;
    let target = Target { option: "--out", path: out };
    target.refuse_inputs(&[("--model", model)])?;
    target.refuse_foreign(match to {
        GraftFormat::Peft => is_own_peft,
        GraftFormat::Gguf => is_own_gguf_adapter,
    })?;
    let base = Base::open(ModelFile::open(model)?)?;
    if graft.meta.base != *base.fingerprint() {
        let problem = StoreProblem::OtherModel { graft: id, model: model.to_owned() };
        return Err(StoreError::Refused { path: store.root().to_owned(), problem }.into());
    }
    match to {
        GraftFormat::Peft => write_peft(out, &graft.adapter, &base),
        GraftFormat::Gguf => write_gguf_adapter(out, &graft.adapter, &base),
    }
}
