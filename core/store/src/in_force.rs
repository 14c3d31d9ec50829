//! Which header is the store's own, where its two copies differ.
//!
//! Writing them was interrupted, or one of them is of another store or of another time. What the store has sealed tells:
//! the header in force is the newest one whose data keys open it.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::header::{FoundHeader, StoreHeader};
use super::{inventory, sealed};
use crate::vault::manifest::Manifest;
use crate::vault::{Key, Vault};
use crate::{Error, Result};

/// The header that a store is opened with.
#[derive(Debug)]
pub(super) struct HeaderInForce {
    pub(super) header: StoreHeader,
    /// What opens everything else.
    pub(super) vault: Vault,
    /// Where a newer header lies that opens nothing of the store.
    pub(super) passed_over: Option<PathBuf>,
}

/// How much of a store opens with the data keys of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Opens {
    Nothing,
    /// Some file does. The manifest is missing or damaged.
    Files,
    Manifest,
}

impl FoundHeader {
    /// Chooses the header that is in force, and opens it with the app's `key`.
    ///
    /// # Errors
    /// Those of [`StoreHeader::vault`], if no header opens anything of the store; [`Error::Io`].
    pub(super) fn open(self, plain: &Vault, key: Option<&Key>, root: &Path) -> Result<HeaderInForce> {
        let newest = self.header.vault(plain, key, root);
        if let Some(older) = self.older
            && let Ok(vault) = older.vault(plain, key, root)
        {
            let by_newest = match &newest {
                Ok(vault) => opens(vault, root)?,
                Err(_) => Opens::Nothing,
            };
            if opens(&vault, root)? > by_newest {
                return Ok(HeaderInForce { header: older, vault, passed_over: Some(self.place) });
            }
        }
        Ok(HeaderInForce { header: self.header, vault: newest?, passed_over: None })
    }
}

fn opens(vault: &Vault, root: &Path) -> Result<Opens> {
    match Manifest::is_there(vault.disk(), root) {
        Ok(true) => Ok(Opens::Manifest),
        Err(Error::WrongKey { .. }) => Ok(Opens::Nothing),
        Ok(false) | Err(Error::Corrupted { .. }) => {
            Ok(if Sealed::count(vault, root)?.ours > 0 { Opens::Files } else { Opens::Nothing })
        }
        Err(error) => Err(error),
    }
}

/// How many of the sealed files in a store's folder are under its keys. The header and the manifest do not count.
#[derive(Clone, Copy, Debug, Default)]
struct Sealed {
    ours: u64,
    /// The files that do not open, where that can be because of the keys.
    others: u64,
}

impl Sealed {
    fn count(vault: &Vault, root: &Path) -> Result<Self> {
        let mut count = Self::default();
        for item in inventory::items(vault.fs(), root)? {
            let Some(role) = item.kind.role() else { continue };
            match begins(vault, &item.path, role) {
                Ok(()) => count.ours += 1,
                Err(Error::WrongKey { .. }) => count.others += 1,
                Err(Error::Corrupted { .. }) => count.others += u64::from(vault.is_encrypted()),
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

/// Whether there are sealed files in the folder, and not one of them opens: then the header or the key is another
/// store's, and nothing is known to be damaged.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn opens_nothing(vault: &Vault, root: &Path) -> Result<bool> {
    let Sealed { ours, others } = Sealed::count(vault, root)?;
    Ok(ours == 0 && others > 0)
}

/// Opens the beginning of a file: one chunk proves the key.
fn begins(vault: &Vault, path: &Path, role: &'static str) -> Result<()> {
    let mut file = vault.open(path, role)?;
    let read = file.read(&mut [0]);
    read.map(drop).map_err(|error| sealed::error("read", path, error))
}
