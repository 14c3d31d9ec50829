//! Sealed files: what was written comes back byte for byte, or not at all.
//!
//! A [`Vault`] writes and reads files in one of two modes. The plain one has a checksum for each chunk of 64 KiB; the
//! encrypted one has XChaCha20-Poly1305 instead, in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár:
//! *Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance*, 2015). Both notice any byte that was
//! changed, cut off, added or moved, and a file that was put in the place of another. Only the encrypted mode does so
//! against somebody who means it, and hides what is inside: all but its length.
//!
//! A sealed file, little endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `NGSEAL\r\n` |
//! | 4 | version: 1, or 2 for a file with a number |
//! | 1 | mode: 0 plain, 1 encrypted |
//! | 4 | number of the data key; 0 in the plain mode |
//! | 19 | random start of the nonces; zeros in the plain mode. With a number, the last 8 bytes are that |
//! | … | chunks of 64 KiB, the last one of 0 to 64 KiB, each followed by its tag of 16 bytes |
//!
//! The context is the header, the role of the file (what it is used for) and its name without folders, the latter two
//! after their lengths in 4 bytes. A tag of the encrypted mode covers it as associated data; the nonce of a chunk is
//! the random start, its index in 4 bytes (big endian) and a byte that is 1 for the last one. A tag of the plain mode
//! is the first half of the SHA-256 of context, the tag before (zeros for the first), index in 4 bytes, last or not in
//! 1 byte, and the SHA-256 of the data. So the chunks of both modes can be sealed side by side, which is done for some
//! of them at a time: a phone may give a run that it stops a few tenths of a second.
//!
//! A seal says nothing of when a file was written: an earlier version of it is as valid by itself. In a folder that has a manifest
//! each file carries the number of the change that wrote it, and only the last version passes.

mod disk;
mod files;
mod key;
mod listing;
pub(crate) mod manifest;
mod reader;
mod sealing;
mod stamp;
mod writer;

#[cfg(test)]
mod tests;

pub use files::Vault;
pub use key::{Key, KeyRing, unwrap, wrap};
pub use reader::SealedReader;
pub use writer::SealedWriter;
