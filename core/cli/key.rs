//! The key of an encrypted store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nightgraft_core::store::Key;

use crate::failure::Usage;

#[derive(clap::Args)]
pub struct KeyArgs {
    /// File with the store's key: 32 bytes, or 64 hexadecimal digits; a new store is then encrypted
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyArgs {
    pub fn read(&self) -> Result<Option<Key>> {
        self.key_file.as_deref().map(read_key).transpose()
    }
}

/// The key in a file.
pub fn read_key(path: &Path) -> Result<Key> {
    let mut bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(raw) => Some(Key::new(raw)),
        Err(_) => std::str::from_utf8(&bytes).ok().and_then(|text| Key::from_text(text.trim())),
    };
    bytes.fill(0);
    let wrong = || format!("{} holds neither 32 bytes nor 64 hexadecimal digits", path.display());
    key.ok_or_else(|| Usage(wrong()).into())
}
