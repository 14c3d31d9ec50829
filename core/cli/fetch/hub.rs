//! Files of Hugging Face repositories, through the `hf-hub` crate and its cache.

use std::path::PathBuf;

use anyhow::{Result, bail};
use hf_hub::{
    Cache,
    api::{
        Progress as HubProgress,
        sync::{ApiBuilder, ApiError},
    },
};

use crate::{failure::UsageError, progress::Progress};

/// `OWNER/REPO/FILE` as a file of the Hugging Face cache ($HF_HOME, else ~/.cache/huggingface), shared with other
/// programs; downloaded when it is not there. Says whether it was.
pub fn fetch(location: &str, show: bool) -> Result<(PathBuf, bool)> {
    let Some((repository, file)) = split(location) else {
        let text = format!("hf:{location}: give a file of a repository as hf:OWNER/REPO/FILE");
        return Err(UsageError(text).into());
    };
    // What the cache has is taken without asking the network.
    if let Some(path) = Cache::from_env().model(repository.clone()).get(file) {
        return Ok((path, false));
    }
    let downloaded = ApiBuilder::from_env().with_progress(false).build().and_then(|api| {
        api.model(repository.clone())
            .download_with_progress(file, HubProgressBar { show, ..HubProgressBar::default() })
    });
    match downloaded {
        Ok(path) => Ok((path, true)),
        Err(error) => bail!(
            "cannot fetch {file} of {repository} from Hugging Face: {}. \
            A file downloaded in another way can be given to --model by its path",
            explain(&error)
        ),
    }
}

/// The address of a file, on the host that `HF_ENDPOINT` names or on the usual one.
pub fn address(repository: &str, revision: &str, file: &str) -> String {
    let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
    let endpoint = endpoint.as_deref().unwrap_or("https://huggingface.co").trim_end_matches('/');
    format!("{endpoint}/{repository}/resolve/{revision}/{file}")
}

/// Into `OWNER/REPO` and `FILE`, which may be in a folder; nothing that would leave the cache.
fn split(location: &str) -> Option<(String, &str)> {
    let (owner, rest) = location.split_once('/')?;
    let (name, file) = rest.split_once('/')?;
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    let all_plain = plain(owner) && plain(name) && file.split('/').all(plain);
    all_plain.then(|| (format!("{owner}/{name}"), file))
}

fn explain(error: &ApiError) -> String {
    let ApiError::RequestError(request) = error else { return error.to_string() };
    match request.as_ref() {
        ureq::Error::Status(404, _) => "there is no such file or repository".to_owned(),
        ureq::Error::Status(401 | 403, _) => {
            "access is refused: the repository is private, its terms were not accepted, or it does not exist \
            (log in with `hf auth login`)"
                .to_owned()
        }
        ureq::Error::Status(code, _) => format!("the server answers with status {code}"),
        ureq::Error::Transport(transport) => {
            format!("it cannot be reached ({}); check the network and the proxy variables", transport.kind())
        }
    }
}

/// Our bar, moved by `hf-hub`.
#[derive(Default)]
struct HubProgressBar {
    show: bool,
    progress: Option<Progress>,
    done: u64,
    total: u64,
}

impl HubProgress for HubProgressBar {
    fn init(&mut self, size: usize, filename: &str) {
        self.done = 0;
        self.total = size as u64;
        if self.progress.is_none() {
            self.progress = Some(Progress::bytes(self.show, filename, self.total));
        }
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        if let Some(progress) = &mut self.progress {
            progress.set(self.done, self.total);
        }
    }

    fn finish(&mut self) {
        if let Some(progress) = &self.progress {
            progress.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_apart() {
        assert_eq!(split("o/r/a.gguf"), Some(("o/r".to_owned(), "a.gguf")));
        assert_eq!(split("o/r/sub/a.gguf"), Some(("o/r".to_owned(), "sub/a.gguf")));
        for location in ["", "o", "o/r", "o/r/", "/r/f", "o/../f", "o/r/../../f", "o/r/.", "o/r//f"] {
            assert_eq!(split(location), None, "{location}");
        }
    }
}
