//! The two calls of the Hub's HTTP API that a download takes: what a repository holds, and a file of it.
//!
//! They are written out here because no version of the `hf-hub` crate does it: those that build on ureq neither give the sizes,
//! sums and licence that are shown before a download, nor check the sum, nor read a part of a file, nor `HF_TOKEN`; from 1.0 on
//! it brings an asynchronous HTTP client and a runtime with it. Addresses, headers and fields are those of its Python sibling,
//! `huggingface_hub` (`HfApi.model_info(files_metadata=True)`, `hf_hub_url`, `hf_raise_for_status`).

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::location::is_path;
use crate::fetch::{
    checksum::{git_blob, is_git_blob, is_sha256, sha256},
    http::{Refusal, Request, Unreachable},
};

/// What of a path an address shows as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// More than the description of any repository.
const MAX_ANSWER: u64 = 64 << 20;

/// Where to ask, and as whom.
pub struct Hub {
    /// Without a slash at its end.
    endpoint: String,
    token: Option<String>,
}

/// A repository as it is now.
#[derive(Debug, PartialEq)]
pub struct Repository {
    /// The commit of its main branch.
    pub commit: String,
    /// The licence is the one that the model's card names.
    pub licence: Option<String>,
    /// The large files, models and weights among them.
    pub files: Vec<File>,
    /// The others, which git itself keeps.
    pub small_files: Vec<File>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    pub path: String,
    pub bytes: u64,
    pub sum: Sum,
}

impl File {
    /// The path's last part.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// What the bytes of a file are checked by, and what the file is called in the cache.
#[derive(Clone, Debug, PartialEq)]
pub enum Sum {
    /// Of a large file.
    Sha256(String),
    /// The name of a small file as a blob of git.
    GitBlob(String),
}

impl Sum {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sha256(sum) | Self::GitBlob(sum) => sum,
        }
    }

    /// Whether the bytes at `path` have it.
    pub fn is_of(&self, path: &Path) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Sha256(sum) => sha256(path)? == *sum,
            Self::GitBlob(sum) => git_blob(path)? == *sum,
        })
    }
}

/// Why the Hub gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "{endpoint} cannot be reached ({reason}); check the network and the proxy variables. A file that was downloaded in \
         another way can be given to --model by its path"
    )]
    Unreachable { endpoint: String, reason: Unreachable },
    #[error(
        "its licence has to be accepted first: do so at {page} and set HF_TOKEN to a token of the same account, or log in with \
         `hf auth login`"
    )]
    Gated { page: String },
    #[error(
        "the account of this token has no access: accept the licence at {page}, wait if its owner has to agree, and check that \
         the token may read gated repositories"
    )]
    NotGranted { page: String },
    #[error(
        "there is no such file or repository, or it is private; check the name at {page}, and set HF_TOKEN or log in with `hf \
         auth login` if it is private"
    )]
    NotFound { page: String },
    #[error("its token is not accepted; set HF_TOKEN to another one, or log in again with `hf auth login`")]
    Token,
    #[error("{endpoint} answers with status {status}; try again later")]
    Status { endpoint: String, status: u16 },
    #[error("{endpoint} answers with something else than the description of a repository ({problem})")]
    Answer { endpoint: String, problem: String },
}

impl Hub {
    /// The Hub at `endpoint`, else at its usual address.
    pub fn new(endpoint: Option<&str>, token: Option<String>) -> Self {
        let endpoint = endpoint.unwrap_or("https://huggingface.co").trim_end_matches('/');
        Self { endpoint: endpoint.to_owned(), token }
    }

    /// What a repository's main branch holds.
    ///
    /// # Errors
    /// [`HubError`].
    pub fn repository(&self, name: &str) -> Result<Repository, HubError> {
        let address = format!("{}/api/models/{name}/revision/main?blobs=true", self.endpoint);
        let mut response = self.request(&address).send(None).map_err(|reason| self.unreachable(reason))?;
        if response.status() != 200 {
            return Err(self.refused(name, &Refusal::of(&response)));
        }
        let answer = |problem: String| HubError::Answer { endpoint: self.endpoint.clone(), problem };
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let description: Description =
            serde_json::from_slice(&text.map_err(|error| answer(error.to_string()))?)
                .map_err(|error| answer(error.to_string()))?;
        description.checked().ok_or_else(|| answer("it names no commit".to_owned()))
    }

    /// The address of a file of a commit.
    pub fn address(&self, repository: &str, revision: &str, path: &str) -> String {
        format!("{}/{repository}/resolve/{revision}/{}", self.endpoint, utf8_percent_encode(path, PATH))
    }

    /// A request in the user's name.
    pub fn request<'a>(&'a self, address: &'a str) -> Request<'a> {
        Request { address, token: self.token.as_deref() }
    }

    /// What a failed download of a file means; other errors stay as they are.
    pub fn explain(&self, repository: &str, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<Refusal>() {
            Ok(refusal) => self.refused(repository, &refusal).into(),
            Err(error) => match error.downcast::<Unreachable>() {
                Ok(reason) => self.unreachable(reason).into(),
                Err(error) => error,
            },
        }
    }

    fn unreachable(&self, reason: Unreachable) -> HubError {
        HubError::Unreachable { endpoint: self.endpoint.clone(), reason }
    }

    /// Without a token a repository that does not exist is refused as a private one is, with 401.
    fn refused(&self, repository: &str, refusal: &Refusal) -> HubError {
        let page = format!("{}/{repository}", self.endpoint);
        let is_gated = refusal.code.as_deref() == Some("GatedRepo") || refusal.status == 403;
        match refusal.status {
            401 | 403 if is_gated && self.token.is_none() => HubError::Gated { page },
            401 | 403 if is_gated => HubError::NotGranted { page },
            401 if self.token.is_some() => HubError::Token,
            401 | 404 => HubError::NotFound { page },
            status => HubError::Status { endpoint: self.endpoint.clone(), status },
        }
    }
}

/// What the Hub says of a repository.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    sha: String,
    card_data: Option<Card>,
    #[serde(default)]
    tags: Vec<String>,
    siblings: Vec<Sibling>,
}

/// The head of its README, which its owner writes.
#[derive(Deserialize)]
struct Card {
    license: Option<serde_json::Value>,
    license_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Description {
    /// Nothing in it is believed that becomes a path.
    fn checked(self) -> Option<Repository> {
        let licence = self.licence();
        let (mut files, mut small_files) = (Vec::new(), Vec::new());
        for Sibling { rfilename: path, size, blob_id, lfs } in self.siblings {
            match (lfs, size, blob_id) {
                _ if !is_path(&path) => {}
                (Some(Lfs { sha256, size }), ..) if is_sha256(&sha256) && size > 0 => {
                    files.push(File { path, bytes: size, sum: Sum::Sha256(sha256) });
                }
                (None, Some(bytes), Some(blob)) if is_git_blob(&blob) && bytes > 0 => {
                    small_files.push(File { path, bytes, sum: Sum::GitBlob(blob) });
                }
                _ => {}
            }
        }
        let is_commit = !self.sha.is_empty() && self.sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_commit.then_some(Repository { commit: self.sha, licence, files, small_files })
    }

    /// The card's own name of a licence that is none of the Hub's list, else that of the list.
    fn licence(&self) -> Option<String> {
        let of_card = self.card_data.as_ref().and_then(|card| {
            let listed = card.license.as_ref().and_then(|licence| licence.as_str());
            card.license_name.as_deref().filter(|_| matches!(listed, None | Some("other"))).or(listed)
        });
        let of_tags = || self.tags.iter().find_map(|tag| tag.strip_prefix("license:"));
        of_card.or_else(of_tags).filter(|licence| !licence.contains(char::is_control)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn read(description: serde_json::Value) -> Option<Repository> {
        serde_json::from_value::<Description>(description).unwrap().checked()
    }

    #[test]
    fn a_description_is_read_and_nothing_in_it_believed() {
        let sum = "ab".repeat(32);
        let lfs = |sha256: &str| json!({"sha256": sha256, "size": 7, "pointerSize": 128});
        let siblings = json!([
            {"rfilename": "README.md", "size": 9, "blobId": "00"},
            {"rfilename": "config.json", "size": 9, "blobId": "0d".repeat(20)},
            {"rfilename": "../config.json", "size": 9, "blobId": "0d".repeat(20)},
            {"rfilename": "sub/m.gguf", "size": 7, "lfs": lfs(&sum)},
            {"rfilename": "../m.gguf", "size": 7, "lfs": lfs(&sum)},
            {"rfilename": "/m.gguf", "size": 7, "lfs": lfs(&sum)},
            {"rfilename": "n.gguf", "size": 7, "lfs": lfs("../../x")},
        ]);
        let read = |sha: &str| read(json!({"id": "o/r", "sha": sha, "siblings": siblings}));
        let file = File { path: "sub/m.gguf".to_owned(), bytes: 7, sum: Sum::Sha256(sum.clone()) };
        let small = File { path: "config.json".to_owned(), bytes: 9, sum: Sum::GitBlob("0d".repeat(20)) };
        let (files, small_files) = (vec![file], vec![small]);
        let repository = Repository { commit: "0a1b".to_owned(), licence: None, files, small_files };
        assert_eq!(read("0a1b"), Some(repository));
        assert_eq!((read(""), read("../main")), (None, None));
    }

    #[test]
    fn the_licence_is_the_card_s() {
        let licence = |card: serde_json::Value, tags: &[&str]| {
            read(json!({"sha": "0", "cardData": card, "tags": tags, "siblings": []})).unwrap().licence
        };
        let tags = ["gguf", "license:mit"];
        assert_eq!(licence(json!({"license": "apache-2.0"}), &tags).as_deref(), Some("apache-2.0"));
        let other = json!({"license": "other", "license_name": "qwen-research"});
        assert_eq!(licence(other, &tags).as_deref(), Some("qwen-research"));
        assert_eq!(licence(json!({"license": "other"}), &[]).as_deref(), Some("other"));
        assert_eq!(licence(json!({"license": ["mit", "gpl"]}), &tags).as_deref(), Some("mit"));
        assert_eq!(licence(json!(null), &[]), None);
    }

    #[test]
    fn addresses_are_made_of_any_path() {
        let hub = Hub::new(Some("http://h:1/"), None);
        assert_eq!(
            hub.address("o/r", "0a", "sub/m é#1.gguf"),
            "http://h:1/o/r/resolve/0a/sub/m%20%C3%A9%231.gguf"
        );
        assert!(Hub::new(None, None).address("o/r", "0a", "m").starts_with("https://huggingface.co/o/r/"));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let means = |token: Option<&str>, status, code: Option<&str>| {
            let hub = Hub::new(Some("http://h"), token.map(str::to_owned));
            hub.refused("o/r", &Refusal { status, code: code.map(str::to_owned) })
        };
        assert!(
            matches!(means(None, 401, Some("GatedRepo")), HubError::Gated { page } if page == "http://h/o/r")
        );
        assert!(matches!(means(Some("t"), 403, Some("GatedRepo")), HubError::NotGranted { .. }));
        assert!(matches!(means(Some("t"), 403, None), HubError::NotGranted { .. }));
        assert!(matches!(means(None, 401, Some("RepoNotFound")), HubError::NotFound { .. }));
        assert!(matches!(means(Some("t"), 404, None), HubError::NotFound { .. }));
        assert!(matches!(means(Some("t"), 401, None), HubError::Token));
        assert!(matches!(means(None, 503, None), HubError::Status { status: 503, .. }));
    }
}
