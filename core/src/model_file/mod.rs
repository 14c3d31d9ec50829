//! The model's file: mapped, checked, and known by its hash; or the several files of a split model.

mod file;
mod hash;
mod parts;
#[cfg(test)]
mod tests;

pub use file::ModelFile;
pub use hash::{FileHash, HashCheck};
