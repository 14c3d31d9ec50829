//! What a device keeps between nights: the journal of examples, the versions of the adapter, the unfinished session.
//!
//! A [`Store`] is a folder that one process has open at a time:
//!
//! ```text
//! store.ngs, store.copy.ngs    the seed, and in an encrypted store the wrapped data key; twice
//! manifest.ngs                 which version of each file is in force
//! journal/00000001-00000004.ngs  examples: segments whose numbers follow each other without gaps
//! grafts/00000007.ngs          one version of the adapter, with what is known of it
//! current.ngs                  which graft is in use, and which were before it
//! session/                     documents and checkpoints of the unfinished session
//! usage.ngs                    documents that outlive a session
//! .lock
//! ```
//!
//! Every file is sealed ([`vault`]), so that damage is noticed, and appears whole or not at all. A file that
//! is valid and not the last version of itself, because a backup was put back or somebody means it, is noticed too: the
//! manifest names the version of each. In a plain store that helps against accidents only, since whoever may write the
//! folder can write a manifest. Folders and files are their owner's alone, and those of an older build become so when
//! the store is opened. Each
//! change is one rename; what a crash leaves to be tidied up behind it, the next [`Store::open`] does. Words of this
//! project: a **graft** is a trained version of the adapter; to **promote** it is to take it into use, to **roll
//! back** is to go back to the one before.

#![forbid(unsafe_code)]

pub mod checkpoint;
mod clock;
mod consistency;
mod destroy;
mod deviation;
mod documents;
mod error;
mod examples;
mod export;
mod file_problem;
mod folders;
mod forget;
mod graft_file;
mod grafts;
mod header;
mod history;
mod id_set;
mod ids;
mod import;
mod in_force;
mod inconsistency;
mod inventory;
mod journal;
mod lock;
mod open;
mod quota;
mod reader;
mod repair;
mod rotation;
mod sealed;
mod segment;
mod store;
mod store_problem;
pub mod vault;
mod verify;

#[cfg(test)]
mod tests;

pub use destroy::DestroyReport;
pub use documents::{DocumentWriter, MODELS};
pub use error::{CheckpointProblem, Error, Impossibility, NumberSet, Result};
pub use examples::DeleteReport;
pub use file_problem::FileProblem;
pub use forget::ForgetReport;
pub use graft_file::{Graft, GraftMeta, NewGraft};
pub use grafts::{GraftEntry, GraftStatus};
pub use id_set::IdSet;
pub use ids::{ExampleId, GraftId};
pub use import::ImportReport;
pub use inconsistency::Inconsistency;
pub use open::StoreOptions;
pub use reader::StoreReader;
pub use repair::RepairReport;
pub use segment::{SegmentProblem, StoredExample};
pub use store::Store;
pub use store_problem::StoreProblem;
pub use vault::Key;
pub use verify::{Damage, VerifyReport};
