//! Several files of a repository, in the folder of a commit of the cache.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    CachedRepository, Location, api::File, cache, disk, download::Interrupted, download_whole, endpoint,
    length, unfinished,
};
use super::{Hub, HubError, Repository};
use crate::{format, output};

/// A repository of the Hub, of which files come into the cache as they are asked for.
pub struct RepositoryFolder {
    name: String,
    cached: CachedRepository,
    /// None where it cannot be reached: then there is what was fetched before.
    online: Option<(Hub, Repository)>,
}

impl RepositoryFolder {
    /// Asks what the repository holds.
    ///
    /// # Errors
    /// [`HubError`], but for a Hub that cannot be reached where the cache has something of the repository.
    pub fn open(location: &Location) -> Result<Self> {
        let (cached, name) = (CachedRepository::of(location)?, location.repository.clone());
        let hub = Hub::new(endpoint().as_deref(), cache::token()?);
        let online = match hub.repository(&name) {
            Ok(repository) => Some((hub, repository)),
            Err(HubError::Unreachable { .. }) if cached.latest().is_some() => {
                output::warnings([
                    "the Hub cannot be reached; this is what of the repository was fetched before",
                ]);
                None
            }
            Err(error) => return Err(error).with_context(|| format!("cannot fetch {name}")),
        };
        Ok(Self { name, cached, online })
    }

    /// Downloads those of `names` that the repository has and the cache has not, and returns the folder that they are in.
    ///
    /// # Errors
    /// As [`fetch`](super::fetch).
    pub fn fetch<'a>(&self, names: impl IntoIterator<Item = &'a str>, show: bool) -> Result<PathBuf> {
        let Some((hub, repository)) = &self.online else {
            return self.cached.latest().context("what was fetched before is gone");
        };
        let all = || repository.files.iter().chain(&repository.small_files);
        let files: Vec<&File> =
            names.into_iter().filter_map(|name| all().find(|file| file.path == name)).collect();
        let missing = |file: &&File| file.bytes.saturating_sub(length(&self.cached.blob(file.sum.as_str())));
        let bytes: u64 = files.iter().map(missing).sum();
        if show && bytes > 0 {
            let licence = repository.licence.as_deref().unwrap_or("not stated");
            output::note(format_args!("{}: {}, licence: {licence}", self.name, format::bytes(bytes)));
        }
        disk::require_space(&self.cached.blobs()?, bytes, "HF_HOME")?;
        for file in files {
            let fetched = self.fetch_one(hub, repository, file, show);
            fetched.with_context(|| format!("cannot fetch {} of {}", file.path, self.name))?;
        }
        Ok(self.cached.snapshot(&repository.commit))
    }

    fn fetch_one(&self, hub: &Hub, repository: &Repository, file: &File, show: bool) -> Result<()> {
        let sum = file.sum.as_str();
        let _lock = disk::lock(&self.cached.lock(sum))?;
        let blob = self.cached.blob(sum);
        if length(&blob) != file.bytes {
            let unfinished = unfinished(&self.cached, file)?;
            let address = hub.address(&self.name, &repository.commit, &file.path);
            download_whole(hub.request(&address), &unfinished, file, show).map_err(|error| {
                let error = hub.explain(&self.name, error);
                if error.is::<Interrupted>() {
                    return anyhow::anyhow!("{error}. The same command goes on where this one stopped");
                }
                error
            })?;
            cache::keep(&unfinished, &blob)?;
        }
        self.cached.link(&repository.commit, &file.path, sum)?;
        Ok(())
    }
}
