//! Models of the Hugging Face Hub, into its own cache: judged by their headers, resumed, and checked before they get a name.

mod api;
mod cache;
mod choose;
mod folder;
mod header;
mod location;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    Fetched,
    cache::{self as disk, DiskError},
    download::{self, Interrupted, length},
    http::Request,
};
use crate::{format, output};
use api::{File, Hub, HubError, Repository};
use cache::{CachedFile, CachedRepository};
use header::NotTrainable;

pub use folder::RepositoryFolder;
pub use location::{Choice, Location};

/// The address of a file of a public repository.
pub fn address(repository: &str, revision: &str, path: &str) -> String {
    Hub::new(endpoint().as_deref(), None).address(repository, revision, path)
}

/// Takes what the cache has without asking the network, and downloads what it has not, or not as it was.
pub fn fetch(location: &Location, verify: bool, show: bool) -> Result<Fetched> {
    let cached = CachedRepository::of(location)?;
    if let Some(file) = cached.find(&choose::surest(&location.choice))
        && (!verify || file.is_intact()?)
    {
        return Ok(of_cache(file));
    }
    let hub = Hub::new(endpoint().as_deref(), cache::token()?);
    let fetched = from_hub(&hub, location, &cached, verify, show);
    fetched.with_context(|| format!("cannot fetch {location}")).or_else(|error| {
        let is_unreachable = matches!(error.downcast_ref(), Some(HubError::Unreachable { .. }));
        let file = cached.find(&location.choice).filter(|_| is_unreachable && !verify).ok_or(error)?;
        output::warnings(["the Hub cannot be reached; this is what of the repository was fetched before"]);
        Ok(of_cache(file))
    })
}

fn of_cache(file: CachedFile) -> Fetched {
    let CachedFile { path, sha256 } = file;
    Fetched { bytes: length(&path), path, sha256, licence: None, downloaded: false }
}

fn endpoint() -> Option<String> {
    env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty())
}

fn from_hub(
    hub: &Hub,
    location: &Location,
    cached: &CachedRepository,
    verify: bool,
    show: bool,
) -> Result<Fetched> {
    let repository = hub.repository(&location.repository)?;
    let paths: Vec<&str> = repository.files.iter().map(|file| file.path.as_str()).collect();
    let path = choose::choose(&paths, &location.choice)?;
    let file = repository.files.iter().find(|file| file.path == path).expect("the path is one of the files'");
    if show {
        announce(location, &repository, file, &paths);
    }
    let _lock = disk::lock(&cached.lock(file.sum.as_str()))?;
    let blob = cached.blob(file.sum.as_str());
    let is_there = length(&blob) == file.bytes && (!verify || file.sum.is_of(&blob)?);
    if !is_there {
        let address = hub.address(&location.repository, &repository.commit, path);
        let result = complete(hub, &address, file, cached, show);
        result.map_err(|error| with_remedy(hub.explain(&location.repository, error), &paths, path))?;
    }
    Ok(Fetched {
        path: cached.link(&repository.commit, path, file.sum.as_str())?,
        bytes: file.bytes,
        sha256: Some(file.sum.as_str().to_owned()),
        licence: repository.licence,
        downloaded: !is_there,
    })
}

/// Size and licence, and what else there is to choose from.
fn announce(location: &Location, repository: &Repository, file: &File, paths: &[&str]) {
    let licence = repository.licence.as_deref().unwrap_or("not stated");
    let size = format::bytes(file.bytes);
    output::note(format_args!("{}: {}, {size}, licence: {licence}", location.repository, file.path));
    let others = others(paths, &file.path);
    if !others.is_empty() {
        output::note(format_args!("other quantizations there, for --quant: {}", others.join(", ")));
    }
}

/// The quantizations of the other files.
fn others(paths: &[&str], path: &str) -> Vec<String> {
    let chosen = choose::quantization(path);
    choose::quantizations(paths).into_iter().filter(|other| Some(other) != chosen.as_ref()).collect()
}

/// Brings a file of the cache to its end, and checks it.
fn complete(hub: &Hub, address: &str, file: &File, cached: &CachedRepository, show: bool) -> Result<()> {
    let unfinished = unfinished(cached, file)?;
    disk::require_space(&cached.blobs()?, file.bytes - length(&unfinished), "HF_HOME")?;
    let request = hub.request(address);
    let judged = header::check(request, &unfinished, file.bytes, "header", show);
    if judged.as_ref().is_err_and(anyhow::Error::is::<NotTrainable>) {
        fs::remove_file(&unfinished).map_err(DiskError::from_io("remove", &unfinished))?;
    }
    judged?;
    download_whole(request, &unfinished, file, show)?;
    cache::keep(&unfinished, &cached.blob(file.sum.as_str()))
}

/// What there is of a file; nothing of one that has become too long.
fn unfinished(cached: &CachedRepository, file: &File) -> Result<PathBuf> {
    let unfinished = cached.unfinished(file.sum.as_str());
    if length(&unfinished) > file.bytes {
        fs::remove_file(&unfinished).map_err(DiskError::from_io("remove", &unfinished))?;
    }
    Ok(unfinished)
}

/// Brings an unfinished file to its end, and removes it if it is not what the Hub describes.
fn download_whole(request: Request<'_>, unfinished: &Path, file: &File, show: bool) -> Result<()> {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    download::resume(request, unfinished, Some(file.bytes), name, show)?;
    if length(unfinished) != file.bytes || !file.sum.is_of(unfinished)? {
        fs::remove_file(unfinished).map_err(DiskError::from_io("remove", unfinished))?;
        bail!(
            "what was downloaded is not what the Hub describes (size or sum differs); it was not kept, try again"
        );
    }
    Ok(())
}

/// What to do about a download that failed.
fn with_remedy(error: anyhow::Error, paths: &[&str], path: &str) -> anyhow::Error {
    if error.is::<NotTrainable>() {
        let others = others(paths, path);
        let remedy = match others.as_slice() {
            [] => String::new(),
            others => {
                format!(", or, if it is its weights' format, another quantization: {}", others.join(", "))
            }
        };
        return anyhow!(
            "{path} cannot be trained here: {error}. No more than its header was downloaded; choose another model{remedy}"
        );
    }
    if error.is::<Interrupted>() {
        return anyhow!("{error}. The same command goes on where this one stopped");
    }
    error
}
