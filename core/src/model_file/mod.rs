//! The model's file: mapped, checked, and known by its hash.

mod file;
mod hash;

pub use file::ModelFile;
pub use hash::{FileHash, HashCheck};
