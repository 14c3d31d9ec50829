//! Keys, and keys under keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, Result};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// A secret of 32 bytes, wiped from memory when dropped.
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A key that somebody else keeps, such as the system's key store.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no random numbers.
    pub fn generate() -> Result<Self> {
        let mut key = Self([0; KEY_BYTES]);
        random(&mut key.0)?;
        Ok(key)
    }

    /// A key from 64 hexadecimal digits; spaces and line ends around them are ignored. `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut key = Self([0; KEY_BYTES]);
        let read = base16ct::mixed::decode(text.trim(), &mut key.0).ok()?.len();
        (read == KEY_BYTES).then_some(key)
    }

    pub(super) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&self.0).into())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The data keys of a vault by their numbers, and which one new files are written with. There are two of them
/// while one replaces the other.
#[derive(Debug)]
pub struct KeyRing {
    keys: BTreeMap<u32, Key>,
    current_id: u32,
}

impl KeyRing {
    /// A ring that writes and reads with one key.
    pub fn new(id: u32, key: Key) -> Self {
        Self { keys: [(id, key)].into(), current_id: id }
    }

    /// A ring that also reads what is under a former key.
    #[must_use]
    pub fn with_retired_key(mut self, id: u32, key: Key) -> Self {
        self.keys.entry(id).or_insert(key);
        self
    }

    /// The number of the key that new files are written with.
    pub fn current_id(&self) -> u32 {
        self.current_id
    }

    pub(super) fn get(&self, id: u32) -> Option<&Key> {
        self.keys.get(&id)
    }
}

/// Encrypts `data_key` with `key`. What comes out may lie anywhere. It is bound to `purpose`, so that no other ciphertext
/// can stand in for it.
///
/// # Errors
/// [`Error::Io`] if the system has no random numbers.
pub fn wrap(key: &Key, data_key: &Key, purpose: &[u8]) -> Result<Vec<u8>> {
    let mut wrapped = vec![0; NONCE_BYTES];
    random(&mut wrapped)?;
    let payload = Payload { msg: &data_key.0, aad: purpose };
    let sealed = key.cipher().encrypt(XNonce::from_slice(&wrapped), payload);
    wrapped.extend(sealed.expect("32 bytes are not too many for the cipher"));
    Ok(wrapped)
}

/// The key inside what [`wrap`] made; `None` if `key` or `purpose` is another one, or a byte was changed.
pub fn unwrap(key: &Key, wrapped: &[u8], purpose: &[u8]) -> Option<Key> {
    let (nonce, sealed) = wrapped.split_at_checked(NONCE_BYTES)?;
    let payload = Payload { msg: sealed, aad: purpose };
    let opened = Zeroizing::new(key.cipher().decrypt(XNonce::from_slice(nonce), payload).ok()?);
    Some(Key(opened.as_slice().try_into().ok()?))
}

/// Random bytes of the system.
pub(super) fn random(into: &mut [u8]) -> Result<()> {
    getrandom::fill(into)
        .map_err(|error| Error::io("read", Path::new("the system's random numbers"))(error.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_read_from_text() {
        let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
        let expected: Vec<u8> = (0..32).collect();
        assert_eq!(Key::from_text(&format!(" {digits}\n")).unwrap().0.as_slice(), expected);
        for wrong in ["", &digits[1..], &digits.replace('f', "g"), &digits.replacen("00", "é", 1)] {
            assert!(Key::from_text(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn new_keys_differ_and_are_not_printed() {
        let (one, two) = (Key::generate().unwrap(), Key::generate().unwrap());
        assert_ne!(one.0, two.0);
        assert_eq!(format!("{:?}", KeyRing::new(7, one)), "KeyRing { keys: {7: Key(..)}, current_id: 7 }");
    }

    #[test]
    fn a_wrapped_key_needs_its_key_its_purpose_and_every_bit() {
        const PURPOSE: &[u8] = b"a test";
        let (key, other, data_key) = (Key::new([1; 32]), Key::new([2; 32]), Key::new([3; 32]));
        let wrapped = wrap(&key, &data_key, PURPOSE).unwrap();
        assert_eq!(wrapped.len(), 24 + 32 + 16);
        assert!(!wrapped.windows(8).any(|window| window == [3; 8]));
        assert_ne!(wrapped, wrap(&key, &data_key, PURPOSE).unwrap());
        assert_eq!(unwrap(&key, &wrapped, PURPOSE).unwrap().0, [3; 32]);
        assert!(unwrap(&other, &wrapped, PURPOSE).is_none());
        assert!(unwrap(&key, &wrapped, b"another").is_none());
        for bit in 0..8 * wrapped.len() {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap(&key, &changed, PURPOSE).is_none(), "bit {bit}");
        }
        for len in 0..wrapped.len() {
            assert!(unwrap(&key, &wrapped[..len], PURPOSE).is_none(), "{len} bytes");
        }
        // A shorter secret under the same key is not a key.
        let payload = Payload { msg: &[3; 31], aad: PURPOSE };
        let nonce = [0; NONCE_BYTES];
        let short = key.cipher().encrypt(XNonce::from_slice(&nonce), payload).unwrap();
        assert!(unwrap(&key, &[nonce.as_slice(), &short].concat(), PURPOSE).is_none());
    }
}
