//! Which file this is, without reading all of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Digest;

/// How many places of the tensor data are looked at.
const SAMPLES: u64 = 64;
/// Bytes looked at in each place.
const SAMPLE_BYTES: u64 = 4096;

/// The SHA-256 of a file's header, of the length of its tensor data and of 64 evenly spaced samples
/// of 4 KiB of it. Two models with the same fingerprint are the same for every practical purpose;
/// it is no defence against somebody who builds a different file on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// Takes the fingerprint of a file whose tensor data starts at `data_offset`.
    pub fn of(bytes: &[u8], data_offset: u64) -> Self {
        let data_offset = usize::try_from(data_offset).unwrap_or(usize::MAX).min(bytes.len());
        let (header, data) = bytes.split_at(data_offset);
        let len = data.len() as u64;
        let mut hasher = Sha256::new();
        hasher.update((header.len() as u64).to_le_bytes());
        hasher.update(header);
        hasher.update(len.to_le_bytes());
        let last_start = len.saturating_sub(SAMPLE_BYTES);
        for i in 0..SAMPLES {
            // The first sample is the beginning and the last one the end. 128 bits: no overflow.
            let start = (u128::from(last_start) * u128::from(i) / u128::from(SAMPLES - 1)) as usize;
            let end = start.saturating_add(SAMPLE_BYTES as usize).min(data.len());
            hasher.update(data.get(start..end).unwrap_or_default());
        }
        Self(Digest::from(<[u8; 32]>::from(hasher.finalize())))
    }

    /// The fingerprint of a model in several files, given those of the files in their order: of one file, it is that file's.
    pub fn of_parts(parts: &[Self]) -> Self {
        if let [whole] = parts {
            return *whole;
        }
        let mut hasher = Sha256::new();
        hasher.update((parts.len() as u64).to_le_bytes());
        parts.iter().for_each(|part| hasher.update(part.as_bytes()));
        Self(Digest::from(<[u8; 32]>::from(hasher.finalize())))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Reads the 64 hexadecimal digits that `Display` writes.
    pub fn from_hex(text: &str) -> Option<Self> {
        Digest::from_hex(text).map(Self)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_form_reads_back() {
        let fingerprint = Fingerprint::of(b"header and data", 6);
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(json.len(), 66);
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
        assert_eq!(Fingerprint::from_hex(&fingerprint.to_string()), Some(fingerprint));
        assert_eq!(Fingerprint::from_hex("00"), None);
    }

    #[test]
    fn every_part_and_their_order_count() {
        let [a, b] = [b"header and data", b"header and date"].map(|bytes| Fingerprint::of(bytes, 6));
        assert_eq!(Fingerprint::of_parts(&[a]), a);
        let all =
            [vec![a, b], vec![b, a], vec![a, a], vec![a, b, a], vec![]].map(|p| Fingerprint::of_parts(&p));
        for (i, one) in all.iter().enumerate() {
            assert!(*one != a && *one != b && all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn header_length_and_samples_count() {
        let mut bytes = vec![7u8; 1_000_000];
        let reference = Fingerprint::of(&bytes, 1000);
        assert_ne!(Fingerprint::of(&bytes, 1001), reference);
        assert_ne!(Fingerprint::of(&bytes[..999_999], 1000), reference);
        for place in [0, 999, 1000, 999_999] {
            bytes[place] ^= 1;
            assert_ne!(Fingerprint::of(&bytes, 1000), reference, "byte {place}");
            bytes[place] ^= 1;
        }
        assert_eq!(Fingerprint::of(&bytes, 1000), reference);
    }
}
