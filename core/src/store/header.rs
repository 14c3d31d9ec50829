//! `store.ngs`: what must be known before anything else of a store can be read.
//!
//! It is sealed with a checksum only, also in an encrypted store: it holds the data key wrapped with the app's key. The
//! app's key opens nothing but that, so that changing it need not wait for all files to be written again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::vault::{self, Key, KeyRing, Vault};
use crate::{Error, Result};

pub(super) const NAME: &str = "store.ngs";
const ROLE: &str = "store";
const MAX_BYTES: u64 = 1 << 16;
/// Raised with every change of the layout, and of the format of any file of a store.
const VERSION: u32 = 1;

/// The header of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    version: u32,
    /// What every random choice of the store's sessions begins with.
    pub(super) seed: u64,
    /// The data keys, wrapped with the app's key. None: the store is not encrypted. Two: the files are being moved from
    /// the first to the second.
    keys: Vec<WrappedKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappedKey {
    id: u32,
    /// In hexadecimal digits.
    wrapped: String,
}

pub(super) fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}

impl Header {
    /// The header of a new store, encrypted if there is a `key`.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no random numbers.
    pub(super) fn new(seed: Option<u64>, key: Option<&Key>, root: &Path) -> Result<Self> {
        let seed = match seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| Error::io("seed", root)(error.into()))?,
        };
        let keys = key.map(|key| WrappedKey::new(1, key, &Key::generate()?)).transpose()?;
        Ok(Self { version: VERSION, seed, keys: keys.into_iter().collect() })
    }

    /// Reads the header; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupted`]; [`Error::Store`] for another version; [`Error::Io`].
    pub(super) fn read(plain: &Vault, root: &Path) -> Result<Option<Self>> {
        let path = path(root);
        if plain.fs().metadata(&path).map_err(Error::io("open", &path))?.is_none() {
            return Ok(None);
        }
        let bytes = plain.read(&path, ROLE, MAX_BYTES).map_err(|error| match error {
            Error::WrongKey { path } => {
                Error::Corrupted { path, problem: "it says that it is encrypted, which it never is".into() }
            }
            error => error,
        })?;
        let header: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Corrupted { path: path.clone(), problem: error.to_string() })?;
        if header.version != VERSION {
            let problem = format!(
                "it is of version {} of the layout, this program reads version {VERSION}",
                header.version
            );
            return Err(Error::Store { path: root.to_owned(), problem });
        }
        let ascending = header.keys.windows(2).all(|pair| pair[0].id < pair[1].id);
        if header.keys.len() > 2 || !ascending {
            let problem = "its list of keys makes no sense".into();
            return Err(Error::Corrupted { path, problem });
        }
        Ok(Some(header))
    }

    /// Puts the header in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, plain: &Vault, root: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).expect("numbers and texts serialize");
        plain.write(&path(root), ROLE, &bytes)
    }

    /// The vault for everything else in the store.
    ///
    /// # Errors
    /// [`Error::WrongKey`]; [`Error::NoKey`]; [`Error::Store`] if a key is given and none is needed.
    pub(super) fn vault(&self, plain: &Vault, key: Option<&Key>, root: &Path) -> Result<Vault> {
        match (key, self.keys.as_slice()) {
            (None, []) => Ok(plain.clone()),
            (None, _) => Err(Error::NoKey { path: root.to_owned() }),
            (Some(_), []) => Err(Error::Store {
                path: root.to_owned(),
                problem: "it is not encrypted; leave the key out, or begin a new store with it".into(),
            }),
            (Some(key), keys) => {
                let open = |wrapped: &WrappedKey| Some((wrapped.id, wrapped.open(key)?));
                let opened = keys.iter().map(open).collect::<Option<Vec<_>>>();
                let mut opened = opened.ok_or_else(|| Error::WrongKey { path: path(root) })?;
                let (id, newest) = opened.pop().ok_or_else(|| Error::WrongKey { path: path(root) })?;
                let ring = KeyRing::new(id, newest);
                Ok(plain.with_keys(opened.into_iter().fold(ring, |ring, (id, key)| ring.and_reads(id, key))))
            }
        }
    }

    /// Whether files are being moved from one data key to another.
    pub(super) fn is_rotating(&self) -> bool {
        self.keys.len() > 1
    }

    /// The id of the data key that everything is written with; `None` if nothing is encrypted.
    pub(super) fn writes_with(&self) -> Option<u32> {
        self.keys.last().map(|key| key.id)
    }

    /// The header with a second data key, and both wrapped with `new`. `old` opens the present one, and nothing any
    /// more once this header is in its place.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if `old` is not the present key, [`Error::Store`] if there is not exactly one data key.
    pub(super) fn with_another_key(&self, old: &Key, new: &Key, root: &Path) -> Result<Self> {
        let [present] = self.keys.as_slice() else {
            let problem = "only an encrypted store has a key to change".into();
            return Err(Error::Store { path: root.to_owned(), problem });
        };
        let data_key = present.open(old).ok_or_else(|| Error::WrongKey { path: path(root) })?;
        let id = present.id.checked_add(1).ok_or_else(|| Error::Store {
            path: root.to_owned(),
            problem: "its key was changed too often".into(),
        })?;
        let keys =
            vec![WrappedKey::new(present.id, new, &data_key)?, WrappedKey::new(id, new, &Key::generate()?)?];
        Ok(Self { keys, ..self.clone() })
    }

    /// The header without the data key that nothing is written with any more.
    pub(super) fn without_old_key(&self) -> Self {
        let keys = self.keys.last().cloned().into_iter().collect();
        Self { keys, ..self.clone() }
    }
}

impl WrappedKey {
    fn new(id: u32, key: &Key, data_key: &Key) -> Result<Self> {
        let wrapped = vault::wrap(key, data_key)?.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, wrapped })
    }

    fn open(&self, key: &Key) -> Option<Key> {
        let digits = self.wrapped.as_bytes();
        let digit = |c: u8| char::from(c).to_digit(16);
        let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        vault::unwrap(key, &pairs.iter().map(byte).collect::<Option<Vec<_>>>()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::file_system;

    #[test]
    fn it_says_what_it_said_and_refuses_other_versions() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Vault::plain(file_system::system());
        assert_eq!(Header::read(&plain, folder.path()).unwrap(), None);
        let header = Header::new(Some(u64::MAX), None, folder.path()).unwrap();
        let json = serde_json::to_string(&header).unwrap();
        assert_eq!(json, r#"{"version":1,"seed":18446744073709551615,"keys":[]}"#);
        header.write(&plain, folder.path()).unwrap();
        assert_eq!(Header::read(&plain, folder.path()).unwrap(), Some(header));
        for (text, part) in [
            (json.replace(":1,", ":2,"), "version 2 of the layout"),
            (json.replace("seed", "sead"), "is damaged"),
            (
                json.replace("[]", r#"[{"id":2,"wrapped":""},{"id":2,"wrapped":""}]"#),
                "list of keys makes no sense",
            ),
        ] {
            plain.write(&path(folder.path()), ROLE, text.as_bytes()).unwrap();
            let error = Header::read(&plain, folder.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_rotation_shuts_the_old_key_out_at_once() {
        let folder = Path::new("store");
        let plain = Vault::plain(file_system::system());
        let (old, new) = (Key::new([1; 32]), Key::new([2; 32]));
        let header = Header::new(Some(1), Some(&old), folder).unwrap();
        assert_eq!((header.writes_with(), header.is_rotating()), (Some(1), false));
        assert!(matches!(header.with_another_key(&new, &old, folder), Err(Error::WrongKey { .. })));
        let both = header.with_another_key(&old, &new, folder).unwrap();
        assert_eq!((both.writes_with(), both.is_rotating()), (Some(2), true));
        let after = both.without_old_key();
        assert_eq!((after.writes_with(), after.is_rotating()), (Some(2), false));
        for header in [&both, &after] {
            header.vault(&plain, Some(&new), folder).unwrap();
            assert!(matches!(header.vault(&plain, Some(&old), folder), Err(Error::WrongKey { .. })));
            assert!(matches!(header.vault(&plain, None, folder), Err(Error::NoKey { .. })));
        }
        let mut torn = after;
        torn.keys[0].wrapped.pop();
        assert!(matches!(torn.vault(&plain, Some(&new), folder), Err(Error::WrongKey { .. })));
        let unencrypted = Header::new(Some(1), None, folder).unwrap();
        assert!(matches!(unencrypted.with_another_key(&old, &new, folder), Err(Error::Store { .. })));
    }
}
