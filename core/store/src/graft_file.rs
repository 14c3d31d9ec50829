//! One graft: `grafts/00000007.ngs`, its metadata and its numbers in one sealed file.
//!
//! Inside the sealing: the length of the metadata in 4 bytes (little endian), the metadata as JSON, and the adapter in
//! the form of [`checkpoint::encode_adapter`].

use std::io::{Read, Write};
use std::path::Path;

use nightgraft_adapter::AdapterTensors;
use nightgraft_gguf::Fingerprint;
use nightgraft_policy::gate::GateReport;
use serde::{Deserialize, Serialize};

use super::ids::GraftId;
use super::{IdSet, sealed};
use crate::vault::{SealedReader, Vault};
use crate::{Error, FileProblem, Result, StoreProblem, checkpoint};

/// What a graft's file is sealed as.
pub(super) const ROLE: &str = "graft";
const MAX_META_BYTES: u32 = 32 << 20;

/// What is known of a trained adapter when it is put into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewGraft {
    /// The model that it was trained on.
    pub base: Fingerprint,
    /// The graft that training went on from.
    pub parent: Option<GraftId>,
    /// The examples that it was trained on. Those of the parent are added to them.
    pub trained_on: IdSet,
    /// Optimizer steps of the session.
    pub steps: u64,
    /// The step whose adapter this is: the best one.
    pub best_step: u64,
    /// Tokens that were trained on, repetitions included.
    pub tokens: u64,
    /// The settings of the session as TOML.
    pub settings: String,
    /// What the gate said of it.
    pub gate: GateReport,
}

/// What is known of a graft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraftMeta {
    /// Its number.
    pub id: GraftId,
    /// The model that it was trained on.
    pub base: Fingerprint,
    /// When it was put into the store, in seconds since 1970.
    pub created: i64,
    /// The graft that training went on from.
    pub parent: Option<GraftId>,
    /// The examples that it or one of its ancestors was trained on.
    #[serde(rename = "saw")]
    pub trained_on: IdSet,
    /// Optimizer steps of the session.
    pub steps: u64,
    /// The step whose adapter this is.
    #[serde(rename = "kept_step")]
    pub best_step: u64,
    /// Tokens that were trained on, repetitions included.
    pub tokens: u64,
    /// The settings of the session as TOML.
    pub settings: String,
    /// What the gate said of it.
    pub gate: GateReport,
}

/// A graft in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Graft {
    /// What is known of it.
    pub meta: GraftMeta,
    /// The adapter.
    pub adapter: AdapterTensors,
}

pub(super) fn file_name(id: GraftId) -> String {
    format!("{:08}.ngs", id.0)
}

/// The graft in a file of that name; `None` if it is not a graft's.
pub(super) fn id_of(name: &str) -> Option<GraftId> {
    let id: u64 = name.strip_suffix(".ngs")?.parse().ok()?;
    (id > 0 && file_name(GraftId(id)) == name).then_some(GraftId(id))
}

/// Bytes of a graft's file, about.
pub(super) fn size(meta: &GraftMeta, adapter: &AdapterTensors) -> u64 {
    let numbers = 4 * adapter.n_parameters() as u64;
    let described = meta.settings.len() as u64 + 48 * meta.trained_on.ranges().len() as u64;
    // Shapes, the gate's report, and a tag for each 64 KiB.
    numbers + numbers / 4096 + described + 128 * adapter.pairs.len() as u64 + (16 << 10)
}

/// Writes a graft's file.
///
/// # Errors
/// [`Error::Refused`] if the adapter's numbers do not have its shapes; [`Error::Io`].
pub(super) fn write(vault: &Vault, path: &Path, meta: &GraftMeta, adapter: &AdapterTensors) -> Result<()> {
    let refused = |problem| Error::Refused { path: path.to_owned(), problem };
    let json = serde_json::to_vec(meta)
        .map_err(|error| refused(StoreProblem::UnwritableGraft(error.to_string())))?;
    let len = u32::try_from(json.len()).ok().filter(|&len| len <= MAX_META_BYTES);
    let len = len.ok_or_else(|| refused(StoreProblem::MetaTooLong))?;
    let mut file = vault.create(path, ROLE)?;
    let written = file.write_all(&len.to_le_bytes()).and_then(|()| file.write_all(&json));
    written.map_err(|error| file.error(error))?;
    checkpoint::encode_adapter(adapter, &mut file).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => refused(StoreProblem::UnwritableGraft(error.to_string())),
        _ => file.error(error),
    })?;
    vault.put(vec![file], &[])
}

/// Reads a graft, all of it.
///
/// # Errors
/// [`Error::Corrupted`], [`Error::OtherBuild`], [`Error::WrongKey`], [`Error::Io`].
pub(super) fn read(vault: &Vault, path: &Path, id: GraftId) -> Result<Graft> {
    let mut file = vault.open(path, ROLE)?;
    let meta = read_meta_from(&mut file, path, id)?;
    let adapter =
        checkpoint::decode_adapter(&mut file).map_err(|error| sealed::error("read", path, error))?;
    file.finish()?;
    Ok(Graft { meta, adapter })
}

/// Reads what is known of a graft. The numbers behind it may be damaged all the same.
///
/// # Errors
/// As [`read`].
pub(super) fn read_meta(vault: &Vault, path: &Path, id: GraftId) -> Result<GraftMeta> {
    read_meta_from(&mut vault.open(path, ROLE)?, path, id)
}

fn read_meta_from(file: &mut SealedReader, path: &Path, id: GraftId) -> Result<GraftMeta> {
    let mut len = [0; 4];
    file.fill(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > MAX_META_BYTES {
        return Err(sealed::corrupted(path, FileProblem::MetaTooLong));
    }
    let mut json = Vec::new();
    let read = file.by_ref().take(u64::from(len)).read_to_end(&mut json);
    read.map_err(|error| file.error(error))?;
    if json.len() != len as usize {
        return Err(sealed::corrupted(path, FileProblem::Truncated));
    }
    // The seal holds: this is what was written, though not by this build.
    let meta: GraftMeta = serde_json::from_slice(&json).map_err(|error| Error::OtherBuild {
        path: path.to_owned(),
        problem: FileProblem::GraftMeta { category: error.classify(), column: error.column() },
    })?;
    if meta.id != id {
        return Err(sealed::corrupted(path, FileProblem::OtherGraft(meta.id)));
    }
    Ok(meta)
}
