//! SHA-256 of files, and the names that git gives them.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The sum of a file's bytes, in hex.
pub fn sha256(path: &Path) -> Result<String> {
    sum(path, Sha256::new())
}

/// The name of a file as a blob of git, in hex: the SHA-1 of `blob`, its length, a zero and its bytes.
pub fn git_blob(path: &Path) -> Result<String> {
    let length = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    sum(path, Sha1::new_with_prefix(format!("blob {length}\0")))
}

fn sum<D: Digest>(path: &Path, mut hash: D) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(base16ct::lower::encode_string(&hash.finalize())),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(context),
        }
    }
}

/// Whether a text can be such a sum.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

/// Whether a text can be a blob's name.
pub fn is_git_blob(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sums_are_the_well_known_ones() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).unwrap(), sum);
        assert!(is_sha256(sum) && !is_sha256(&sum[1..]) && !is_sha256(&sum.to_uppercase()));
        // As `git hash-object` prints it.
        let blob = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        assert_eq!(git_blob(file.path()).unwrap(), blob);
        assert!(is_git_blob(blob) && !is_git_blob(&blob[1..]) && !is_git_blob(sum));
    }
}
