//! Models of the Hugging Face Hub, into its own cache: judged by their headers, resumed, and checked before they get a name.

mod api;
mod cache;
mod choose;
mod folder;
mod header;
mod location;

use std::{
    collections::BTreeSet,
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
    if let Some(files) = cached.find(&choose::surest(&location.choice))
        && (!verify || all(&files, CachedFile::is_intact)?)
    {
        return Ok(of_cache(files));
    }
    let hub = Hub::new(endpoint().as_deref(), cache::token()?);
    let fetched = from_hub(&hub, location, &cached, verify, show);
    fetched.with_context(|| format!("cannot fetch {location}")).or_else(|error| {
        let is_unreachable = matches!(error.downcast_ref(), Some(HubError::Unreachable { .. }));
        let files = cached.find(&location.choice).filter(|_| is_unreachable && !verify).ok_or(error)?;
        output::warnings(["the Hub cannot be reached; this is what of the repository was fetched before"]);
        Ok(of_cache(files))
    })
}

/// What was there already. The first of several files stands for all: any of them opens the model.
fn of_cache(files: Vec<CachedFile>) -> Fetched {
    let bytes = files.iter().map(|file| length(&file.path)).sum();
    let is_one = files.len() == 1;
    let CachedFile { path, sha256 } = files.into_iter().next().expect("a model has a file");
    Fetched { bytes, path, sha256: sha256.filter(|_| is_one), licence: None, downloaded: false }
}

/// Whether something holds for all, which it may fail to find out.
fn all<T>(items: &[T], mut holds: impl FnMut(&T) -> Result<bool>) -> Result<bool> {
    for item in items {
        if !holds(item)? {
            return Ok(false);
        }
    }
    Ok(true)
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
    let chosen = choose::choose(&paths, &location.choice)?;
    let of_path = |path: &&str| repository.files.iter().find(|file| file.path == **path);
    let files: Vec<&File> = chosen.iter().filter_map(of_path).collect();
    let first = *files.first().expect("the paths are the files'");
    if show {
        announce(location, &repository, &files, &paths);
    }
    // Each once and in one order, whoever else fetches some of them.
    let sums: BTreeSet<&str> = files.iter().map(|file| file.sum.as_str()).collect();
    let _locks = sums.into_iter().map(|sum| disk::lock(&cached.lock(sum))).collect::<Result<Vec<_>>>()?;
    let is_there = |file: &File| -> Result<bool> {
        let blob = cached.blob(file.sum.as_str());
        Ok(length(&blob) == file.bytes && (!verify || file.sum.is_of(&blob)?))
    };
    let mut downloads = Vec::new();
    for file in &files {
        let (is_whole, address) =
            (is_there(file)?, hub.address(&location.repository, &repository.commit, &file.path));
        let path = if is_whole { cached.blob(file.sum.as_str()) } else { unfinished(cached, file)? };
        downloads.push(Download { file, address, path, is_whole });
    }
    let are_there = downloads.iter().all(|download| download.is_whole);
    if !are_there {
        let result = complete(hub, &downloads, cached, show);
        result.map_err(|error| with_remedy(hub.explain(&location.repository, error), &paths, &first.path))?;
    }
    let link = |file: &&File| cached.link(&repository.commit, &file.path, file.sum.as_str());
    let links = files.iter().map(link).collect::<Result<Vec<_>>>()?;
    Ok(Fetched {
        path: links.into_iter().next().expect("there is a first file"),
        bytes: files.iter().map(|file| file.bytes).sum(),
        sha256: (files.len() == 1).then(|| first.sum.as_str().to_owned()),
        licence: repository.licence,
        downloaded: !are_there,
    })
}

/// A file of the model, and where it is.
struct Download<'a> {
    file: &'a File,
    address: String,
    /// In the cache, whole or as far as it came.
    path: PathBuf,
    is_whole: bool,
}

/// Size and licence, and what else there is to choose from.
fn announce(location: &Location, repository: &Repository, files: &[&File], paths: &[&str]) {
    let licence = repository.licence.as_deref().unwrap_or("not stated");
    let size = format::bytes(files.iter().map(|file| file.bytes).sum());
    let (path, more) = match files {
        [] => return,
        [file] => (&file.path, String::new()),
        [file, rest @ ..] => (&file.path, format!(" and {} more", rest.len())),
    };
    output::note(format_args!("{}: {path}{more}, {size}, licence: {licence}", location.repository));
    let others = others(paths, path);
    if !others.is_empty() {
        output::note(format_args!("other quantizations there, for --quant: {}", others.join(", ")));
    }
}

/// The quantizations of the other files.
fn others(paths: &[&str], path: &str) -> Vec<String> {
    let chosen = choose::quantization(path);
    choose::quantizations(paths).into_iter().filter(|other| Some(other) != chosen.as_ref()).collect()
}

/// Brings a model's files in the cache to their end, and checks them.
fn complete(hub: &Hub, downloads: &[Download], cached: &CachedRepository, show: bool) -> Result<()> {
    let unfinished = || downloads.iter().filter(|download| !download.is_whole);
    let missing = unfinished().map(|download| download.file.bytes - length(&download.path)).sum();
    disk::require_space(&cached.blobs()?, missing, "HF_HOME")?;
    let with_header = |download: &Download| {
        let request = hub.request(&download.address);
        let label = if downloads.len() == 1 { "header" } else { "headers" };
        header::fetch(request, &download.path, download.file.bytes, label, show)
    };
    let judged = downloads.iter().map(with_header).collect::<Result<Vec<_>>>().and_then(|headers| {
        let files = downloads.iter().zip(&headers);
        header::judge(
            files.map(|(download, header)| (hub.request(&download.address), download.file.name(), header)),
        )
    });
    if judged.as_ref().is_err_and(anyhow::Error::is::<NotTrainable>) {
        unfinished()
            .filter(|download| download.path.exists())
            .try_for_each(|download| remove(&download.path))?;
    }
    judged?;
    for Download { file, address, path, .. } in unfinished() {
        download_whole(hub.request(address), path, file, show)?;
        cache::keep(path, &cached.blob(file.sum.as_str()))?;
    }
    Ok(())
}

/// Where there is something of a file, or will be; one that has become too long is removed.
fn unfinished(cached: &CachedRepository, file: &File) -> Result<PathBuf> {
    let unfinished = cached.unfinished(file.sum.as_str());
    if length(&unfinished) > file.bytes {
        remove(&unfinished)?;
    }
    Ok(unfinished)
}

/// Brings an unfinished file to its end, and removes it if it is not what the Hub describes.
fn download_whole(request: Request<'_>, unfinished: &Path, file: &File, show: bool) -> Result<()> {
    download::resume(request, unfinished, Some(file.bytes), file.name(), show)?;
    if length(unfinished) != file.bytes || !file.sum.is_of(unfinished)? {
        remove(unfinished)?;
        bail!(
            "what was downloaded is not what the Hub describes (size or sum differs); it was not kept, try again"
        );
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(DiskError::from_io("remove", path))
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
