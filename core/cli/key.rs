//! The key of an encrypted store.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nightgraft_store::Key;
use zeroize::Zeroizing;

use crate::failure::UsageError;

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

/// More than any file with a key has.
const MAX_BYTES: u64 = 4096;

/// The key in a file.
pub fn read_key(path: &Path) -> Result<Key> {
    let fail = || format!("cannot read {}", path.display());
    // Room for all of it from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    File::open(path).with_context(fail)?.take(MAX_BYTES).read_to_end(&mut bytes).with_context(fail)?;
    let key = match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(raw) => Some(Key::new(raw)),
        Err(_) => std::str::from_utf8(&bytes).ok().and_then(|text| Key::from_text(text.trim())),
    };
    let wrong = || format!("{} holds neither 32 bytes nor 64 hexadecimal digits", path.display());
    key.ok_or_else(|| UsageError(wrong()).into())
}
