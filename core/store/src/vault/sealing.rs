//! The header and the tags of a sealed file, in both modes.

use std::path::Path;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::generic_array::GenericArray;
use chacha20poly1305::aead::stream::{NewStream, StreamBE32, StreamPrimitive};
use rayon::iter::{
    IndexedParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use sha2::{Digest, Sha256};

use super::key::{Key, random};
use crate::{FileProblem, Result};

/// Bytes of content in a chunk; in the last one there may be fewer.
pub(super) const CHUNK_BYTES: usize = 1 << 16;
/// Bytes that each chunk has besides.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes before the first chunk.
pub(super) const HEADER_BYTES: usize = 8 + 4 + 1 + 4 + NONCE_START_BYTES;
/// A nonce of 24 bytes without index and end mark.
const NONCE_START_BYTES: usize = 19;
/// Where the number of the change begins in the start of the nonces.
const NUMBER_AT: usize = NONCE_START_BYTES - 8;
/// Ends like PNG's, so that a transfer that rewrites line ends shows at once.
const MAGIC: [u8; 8] = *b"NGSEAL\r\n";
/// The format of files that carry no number. Raised with every change of the format, as the next one is.
const VERSION: u32 = 1;
/// The format of files that carry the number of the change that wrote them.
const NUMBERED_VERSION: u32 = 2;

/// How a file is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The file is sealed with checksums.
    Plain,
    /// The file is sealed with the data key of this number.
    Encrypted(u32),
}

/// What stands before the chunks.
#[derive(Debug)]
pub(super) struct SealHeader {
    pub(super) mode: Mode,
    /// The number of the change that wrote the file, if it belongs to a folder with a manifest.
    pub(super) number: Option<u64>,
    nonce_start: [u8; NONCE_START_BYTES],
}

impl SealHeader {
    /// The header of a new file.
    pub(super) fn new(mode: Mode, number: Option<u64>) -> Result<Self> {
        let mut nonce_start = [0; NONCE_START_BYTES];
        if mode != Mode::Plain {
            random(&mut nonce_start)?;
        }
        if let Some(number) = number {
            // 88 random bits are left for the files of one number, of which there are few.
            nonce_start[NUMBER_AT..].copy_from_slice(&number.to_le_bytes());
        }
        Ok(Self { mode, number, nonce_start })
    }

    pub(super) fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let (mode, key) = match self.mode {
            Mode::Plain => (0, 0),
            Mode::Encrypted(key) => (1, key),
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        let version = if self.number.is_some() { NUMBERED_VERSION } else { VERSION };
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        bytes[12] = mode;
        bytes[13..17].copy_from_slice(&key.to_le_bytes());
        bytes[17..].copy_from_slice(&self.nonce_start);
        bytes
    }

    /// The version that a sealed file says it is of, if it is later than those known here.
    pub(super) fn later_version(bytes: &[u8; HEADER_BYTES]) -> Option<u32> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        let version =
            rest.first_chunk().filter(|_| magic == MAGIC).map(|version| u32::from_le_bytes(*version));
        version.filter(|&version| version > NUMBERED_VERSION)
    }

    /// Reads a header, or says why it is none.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FileProblem> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if !bytes.starts_with(&MAGIC) {
            return Err(FileProblem::NotSealed);
        }
        let mut nonce_start = [0; NONCE_START_BYTES];
        nonce_start.copy_from_slice(&bytes[17..]);
        let (random, change) = nonce_start.split_at(NUMBER_AT);
        let change = change.iter().rev().fold(0, |number, &byte| (number << 8) | u64::from(byte));
        let is_zero = |part: &[u8]| part.iter().all(|&byte| byte == 0);
        let (change, fixed) = match number(8) {
            VERSION => (None, is_zero(&nonce_start)),
            NUMBERED_VERSION => (Some(change), is_zero(random)),
            found => {
                let (oldest, newest) = (VERSION, NUMBERED_VERSION);
                return Err(FileProblem::SealVersion { found, oldest, newest });
            }
        };
        let mode = match (bytes[12], number(13)) {
            (0, 0) if fixed => Mode::Plain,
            (1, key) => Mode::Encrypted(key),
            _ => return Err(FileProblem::SealHeader),
        };
        Ok(Self { mode, number: change, nonce_start })
    }
}

/// Seals or opens the chunks of one file, in their order.
pub(super) struct Sealing {
    /// How many chunks there were.
    index: u32,
    kind: Kind,
}

enum Kind {
    Plain {
        /// The state of the hash behind the context.
        context: Box<Sha256>,
        /// The tag of the chunk before; zeros before the first. So no chunk of a former file can stand in.
        former: [u8; TAG_BYTES],
    },
    Encrypted {
        stream: Box<StreamBE32<XChaCha20Poly1305>>,
        context: Vec<u8>,
    },
}

/// More chunks than can be counted: a file of 256 TiB.
#[derive(Debug)]
pub(super) struct Exhausted;

impl Sealing {
    /// `key` is what the header's mode asks for.
    pub(super) fn new(header: &SealHeader, role: &str, path: &Path, key: Option<&Key>) -> Self {
        let mut context = header.to_bytes().to_vec();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        for part in [role.as_bytes(), name] {
            // Systems allow names of some hundred bytes.
            context.extend((part.len() as u32).to_le_bytes());
            context.extend(part);
        }
        let kind = match key {
            Some(key) => Kind::Encrypted {
                stream: Box::new(StreamBE32::from_aead(
                    key.cipher(),
                    GenericArray::from_slice(&header.nonce_start),
                )),
                context,
            },
            None => {
                let context = Box::new(Sha256::new_with_prefix(context));
                Kind::Plain { context, former: [0; TAG_BYTES] }
            }
        };
        Self { index: 0, kind }
    }

    /// Turns the content of some chunks into what stands in the file. All of them are full, except for the last one if
    /// it is the `last` of the file too.
    pub(super) fn seal(&mut self, chunks: &mut [Vec<u8>], last: bool) -> Result<(), Exhausted> {
        let n = chunks.len();
        let end = u32::try_from(n).ok().and_then(|n| self.index.checked_add(n)).ok_or(Exhausted)?;
        // A small file is one chunk, which is not worth waking another thread for: two at least for each.
        let places = (self.index..end).map(|index| (index, last && index + 1 == end));
        match &mut self.kind {
            Kind::Plain { context, former } => {
                let hashes: Vec<_> = chunks.par_iter().with_min_len(2).map(Sha256::digest).collect();
                for ((chunk, hash), (index, last)) in chunks.iter_mut().zip(hashes).zip(places) {
                    *former = tag(context, former, index, last, &hash);
                    chunk.extend(*former);
                }
            }
            Kind::Encrypted { stream, context } => {
                let places: Vec<_> = places.collect();
                chunks.par_iter_mut().zip(places).with_min_len(2).try_for_each(
                    |(chunk, (index, last))| {
                        stream.encrypt_in_place(index, last, context, chunk).map_err(|_| Exhausted)
                    },
                )?;
            }
        }
        self.index = end;
        Ok(())
    }

    /// Turns a chunk of the file back into its content. False, and the chunk is not to be used, if it is not what was sealed.
    #[must_use]
    pub(super) fn open(&mut self, chunk: &mut Vec<u8>, last: bool) -> bool {
        let Some(len) = chunk.len().checked_sub(TAG_BYTES) else { return false };
        let valid = match &mut self.kind {
            Kind::Plain { context, former } => {
                *former = tag(context, former, self.index, last, &Sha256::digest(&chunk[..len]));
                let valid = *former == chunk[len..];
                chunk.truncate(len);
                valid
            }
            Kind::Encrypted { stream, context } => {
                stream.decrypt_in_place(self.index, last, context, chunk).is_ok()
            }
        };
        let next = self.index.checked_add(1);
        self.index = next.unwrap_or(self.index);
        valid && (last || next.is_some())
    }
}

/// The tag of a chunk with this hash.
fn tag(context: &Sha256, former: &[u8; TAG_BYTES], index: u32, last: bool, hash: &[u8]) -> [u8; TAG_BYTES] {
    let mut hasher = context.clone();
    hasher.update(former);
    hasher.update(index.to_le_bytes());
    hasher.update([u8::from(last)]);
    hasher.update(hash);
    let whole = hasher.finalize();
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&whole[..TAG_BYTES]);
    tag
}
