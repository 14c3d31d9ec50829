//! `store.ngs`: what must be known before anything else of a store can be read.
//!
//! It is sealed with a checksum only, also in an encrypted store: it holds the data key wrapped with the app's key. The
//! app's key opens nothing but that, so that changing it need not wait for all files to be written again. Everything that
//! the header says is bound to the wrapped key, so that a header in which anything was changed opens nothing.
//!
//! Because without it an encrypted store is lost, there are two: `store.copy.ngs` says the same, and is used when the first
//! is damaged. Where they differ because writing them was interrupted, the newer one counts, if it is the store's own
//! ([`in_force`](super::in_force)).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::vault::{self, Key, KeyRing, SealedWriter, Vault};
use crate::{Error, FileProblem, Result, StoreProblem};

pub(super) const NAME: &str = "store.ngs";
pub(super) const COPY_NAME: &str = "store.copy.ngs";
/// What both are sealed as.
pub(super) const ROLE: &str = "store";
const MAX_BYTES: u64 = 1 << 16;
/// Raised with every change of the layout, and of the format of any file of a store. Builds that know of an earlier one
/// only refuse the store by this number, which they find as long as `version`, `seed` and `keys` stay the only fields.
///
/// 1 had no manifest, no copy of the header, and wrapped keys that were not bound to it.
const VERSION: u32 = 2;
const FIRST_VERSION: u32 = 1;
/// What the wrapped keys of the first version are bound to.
const FIRST_PURPOSE: &[u8] = b"nightgraft data key, version 1";

/// The header of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreHeader {
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

pub(super) fn copy_path(root: &Path) -> PathBuf {
    root.join(COPY_NAME)
}

/// What the two copies on the disk say.
#[derive(Debug)]
pub(super) struct FoundHeader {
    /// The newer one of those that can be read.
    pub(super) header: StoreHeader,
    /// Why the first copy could not be used, if so.
    pub(super) problem: Option<Error>,
    /// Where it is.
    pub(super) place: PathBuf,
    /// The other one, if both can be read and differ.
    pub(super) older: Option<StoreHeader>,
}

impl FoundHeader {
    /// A header of which nothing is wrong.
    pub(super) fn new(header: StoreHeader, place: PathBuf) -> Self {
        Self { header, problem: None, place, older: None }
    }
}

/// Whether a copy can be read.
///
/// # Errors
/// As [`StoreHeader::read`], but not for damage.
pub(super) fn is_on_disk(plain: &Vault, root: &Path) -> Result<bool> {
    match StoreHeader::read(plain, root) {
        Err(Error::Corrupted { .. }) => Ok(false),
        found => Ok(found?.is_some()),
    }
}

impl StoreHeader {
    /// The header of a new store, encrypted if there is a `key`.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no random numbers.
    pub(super) fn new(seed: Option<u64>, key: Option<&Key>, root: &Path) -> Result<Self> {
        let seed = match seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| Error::io("seed", root)(error.into()))?,
        };
        match key {
            Some(key) => Self::wrapping(seed, key, &[(1, Key::generate()?)]),
            None => Ok(Self { version: VERSION, seed, keys: Vec::new() }),
        }
    }

    /// A header with these data keys, wrapped with `key`.
    fn wrapping(seed: u64, key: &Key, data_keys: &[(u32, Key)]) -> Result<Self> {
        let unwrapped = |&(id, _): &(u32, Key)| WrappedKey { id, wrapped: String::new() };
        let mut header = Self { version: VERSION, seed, keys: data_keys.iter().map(unwrapped).collect() };
        for (index, (id, data_key)) in data_keys.iter().enumerate() {
            let wrapped = vault::wrap(key, data_key, &header.purpose(*id))?;
            header.keys[index].wrapped = base16ct::lower::encode_string(&wrapped);
        }
        Ok(header)
    }

    /// What the data key `id` is bound to: all that the header says, but for the wrapped keys. The ids only grow, so that
    /// they also tell an older header from a newer one.
    fn purpose(&self, id: u32) -> Vec<u8> {
        if self.version == FIRST_VERSION {
            return FIRST_PURPOSE.to_vec();
        }
        let mut purpose = b"nightgraft data key of a store".to_vec();
        purpose.extend(self.version.to_le_bytes());
        purpose.extend(self.seed.to_le_bytes());
        for id in [id].into_iter().chain(self.keys.iter().map(|key| key.id)) {
            purpose.extend(id.to_le_bytes());
        }
        purpose
    }

    /// Reads the header, from either copy; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if no copy can be used; [`Error::Refused`] for a newer version; [`Error::Io`].
    pub(super) fn read(plain: &Vault, root: &Path) -> Result<Option<FoundHeader>> {
        let usable = |read: Result<Option<Self>>| match read {
            Err(error @ Error::Corrupted { .. }) => Ok(Err(error)),
            read => read.map(Ok),
        };
        let first = usable(Self::read_one(plain, root, &path(root)))?;
        let second = usable(Self::read_one(plain, root, &copy_path(root)))?;
        let found = match (first, second) {
            (Ok(None), Ok(None)) => return Ok(None),
            (Ok(Some(first)), Ok(Some(second))) => {
                let differ = first != second;
                let (place, header, older) = if second.age() > first.age() {
                    (copy_path(root), second, first)
                } else {
                    (path(root), first, second)
                };
                FoundHeader { older: differ.then_some(older), ..FoundHeader::new(header, place) }
            }
            (Ok(Some(header)), _) => FoundHeader::new(header, path(root)),
            (first, Ok(Some(header))) => {
                let missing = || Error::Corrupted { path: path(root), problem: FileProblem::Missing };
                let problem = Some(first.err().unwrap_or_else(missing));
                FoundHeader { problem, ..FoundHeader::new(header, copy_path(root)) }
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok(Some(found))
    }

    /// Reads one copy; `None` if there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn read_one(plain: &Vault, root: &Path, path: &Path) -> Result<Option<Self>> {
        if plain.fs().metadata(path).map_err(Error::io("open", path))?.is_none() {
            return Ok(None);
        }
        let bytes = plain.read(path, ROLE, MAX_BYTES).map_err(|error| match error {
            Error::WrongKey { path } => Error::Corrupted { path, problem: FileProblem::Encrypted },
            error => error,
        })?;
        let senseless = |error: serde_json::Error| Error::Corrupted {
            path: path.to_owned(),
            problem: FileProblem::Content { category: error.classify(), column: Some(error.column()) },
        };
        // Before anything else, which a later version may say in another way.
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(senseless)?;
        if !(FIRST_VERSION..=VERSION).contains(&version) {
            let problem = StoreProblem::OtherLayout { found: version, known: VERSION };
            return Err(Error::Refused { path: root.to_owned(), problem });
        }
        let header: Self = serde_json::from_slice(&bytes).map_err(senseless)?;
        let ascending = header.keys.windows(2).all(|pair| pair[0].id < pair[1].id);
        if header.keys.len() > 2 || !ascending {
            return Err(Error::Corrupted { path: path.to_owned(), problem: FileProblem::Keys });
        }
        Ok(Some(header))
    }

    /// Larger for a header that was written later.
    fn age(&self) -> (u32, Option<u32>, bool) {
        (self.version, self.current_key_id(), !self.is_rotating())
    }

    /// Whether a build wrote it that knew no manifest.
    pub(super) fn is_of_first_version(&self) -> bool {
        self.version == FIRST_VERSION
    }

    /// Both copies, ready to be put into their places.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn writers(&self, plain: &Vault, root: &Path) -> Result<Vec<SealedWriter>> {
        let bytes = serde_json::to_vec(self).expect("numbers and texts serialize");
        let writer = |path: PathBuf| {
            let mut file = plain.create(&path, ROLE)?;
            file.append(&bytes)?;
            Ok(file)
        };
        [path(root), copy_path(root)].into_iter().map(writer).collect()
    }

    /// The vault for everything else in the store.
    ///
    /// # Errors
    /// [`Error::WrongKey`]; [`Error::NoKey`]; [`Error::Refused`] if a key is given and none is needed.
    pub(super) fn vault(&self, plain: &Vault, key: Option<&Key>, root: &Path) -> Result<Vault> {
        match (key, self.keys.as_slice()) {
            (None, []) => Ok(plain.clone()),
            (None, _) => Err(Error::NoKey { path: root.to_owned() }),
            (Some(_), []) => {
                Err(Error::Refused { path: root.to_owned(), problem: StoreProblem::NeedlessKey })
            }
            (Some(key), _) => {
                let mut opened = self.open_keys(key, root)?;
                let (id, newest) = opened.pop().ok_or_else(|| Error::WrongKey { path: path(root) })?;
                let ring = KeyRing::new(id, newest);
                Ok(plain.with_keys(
                    opened.into_iter().fold(ring, |ring, (id, key)| ring.with_retired_key(id, key)),
                ))
            }
        }
    }

    /// The data keys with their ids.
    fn open_keys(&self, key: &Key, root: &Path) -> Result<Vec<(u32, Key)>> {
        let open = |wrapped: &WrappedKey| Some((wrapped.id, wrapped.open(key, &self.purpose(wrapped.id))?));
        let opened = self.keys.iter().map(open).collect::<Option<Vec<_>>>();
        opened.ok_or_else(|| Error::WrongKey { path: path(root) })
    }

    /// The key to open the store with, and then the one to change it to: `key` alone if it opens the header, `former` and then
    /// `key` if that does.
    pub(super) fn choose_key(
        &self,
        key: Option<Key>,
        former: Option<Key>,
        root: &Path,
    ) -> (Option<Key>, Option<Key>) {
        match (key, former) {
            (Some(key), Some(former))
                if !self.is_opened_by(&key, root) && self.is_opened_by(&former, root) =>
            {
                (Some(former), Some(key))
            }
            (key, _) => (key, None),
        }
    }

    /// Whether `key` opens all data keys.
    pub(super) fn is_opened_by(&self, key: &Key, root: &Path) -> bool {
        self.open_keys(key, root).is_ok()
    }

    /// Whether files are being moved from one data key to another.
    pub(super) fn is_rotating(&self) -> bool {
        self.keys.len() > 1
    }

    /// The id of the data key that everything is written with; `None` if nothing is encrypted.
    pub(super) fn current_key_id(&self) -> Option<u32> {
        self.keys.last().map(|key| key.id)
    }

    /// The header in the present version, with the same data keys under the same `key`.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if `key` is another one, [`Error::Io`].
    pub(super) fn renewed(&self, key: Option<&Key>, root: &Path) -> Result<Self> {
        match key {
            Some(key) if !self.keys.is_empty() => Self::wrapping(self.seed, key, &self.open_keys(key, root)?),
            _ => Ok(Self { version: VERSION, ..self.clone() }),
        }
    }

    /// The header with a second data key, and both wrapped with `new`. `old` opens the present one, and nothing any
    /// more once this header is in its place.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if `old` is not the present key, [`Error::Refused`] if there is not exactly one data key.
    pub(super) fn with_another_key(&self, old: &Key, new: &Key, root: &Path) -> Result<Self> {
        let refused = |problem| Error::Refused { path: root.to_owned(), problem };
        let [present] = self.keys.as_slice() else { return Err(refused(StoreProblem::NotOneKey)) };
        let id = present.id.checked_add(1).ok_or_else(|| refused(StoreProblem::NoKeyNumberLeft))?;
        let mut data_keys = self.open_keys(old, root)?;
        data_keys.push((id, Key::generate()?));
        Self::wrapping(self.seed, new, &data_keys)
    }

    /// The header without the data key that nothing is written with any more.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if `key` is not the present one, [`Error::Io`].
    pub(super) fn without_old_key(&self, key: &Key, root: &Path) -> Result<Self> {
        let newest: Vec<_> = self.open_keys(key, root)?.into_iter().next_back().into_iter().collect();
        Self::wrapping(self.seed, key, &newest)
    }
}

/// What every version of the header has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl WrappedKey {
    fn open(&self, key: &Key, purpose: &[u8]) -> Option<Key> {
        vault::unwrap(key, &base16ct::mixed::decode_vec(&self.wrapped).ok()?, purpose)
    }
}

#[cfg(test)]
mod tests;
