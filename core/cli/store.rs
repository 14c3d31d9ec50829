//! `store`: the versions of the adapter, and the store's own health.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use nightgraft_core::session::{
    self, GraftFormat, export_graft,
    night::{self, NightEnd, NightRecord},
};
use nightgraft_store::{Damage, GraftEntry, GraftId, Key, Store, StoreOptions, VerifyReport};
use serde_json::json;

use crate::{
    Verbosity,
    fetch::catalogue,
    format,
    key::{KeyArgs, read_key},
    output,
};

/// List, switch, export and check the grafts of a store
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Where the store is.
#[derive(clap::Args)]
pub struct StoreArgs {
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Show all grafts, oldest first
    List(StoreArgs),
    /// Show what is known of a graft
    Show {
        /// Its number
        id: GraftId,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Show what each night came to, oldest first
    Nights(StoreArgs),
    /// Take a graft into use
    Promote {
        /// Its number
        id: GraftId,
        /// Also if the gate refused it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Go back to the graft that was in use before, or to the base model
    Rollback(StoreArgs),
    /// Delete a graft
    Delete {
        /// Its number
        id: GraftId,
        /// Also if it is in use; what was in use before is then used again
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Read every byte of the store; exit code 1 if anything is damaged
    Verify {
        /// Remove what is damaged, and say what is lost
        #[arg(long)]
        repair: bool,
        /// Also read all of this model, and compare it with what the store has learned with
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Change the key of an encrypted store; every file is written again
    RotateKey {
        /// File with the new key: 32 bytes, or 64 hexadecimal digits
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Wipe a store, its keys first; no key is needed
    Destroy {
        /// The store's folder
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
    },
    /// Write a graft in the form that another program reads
    Export {
        /// Its number
        id: GraftId,
        /// What to write
        #[arg(long, value_name = "FORMAT")]
        to: Format,
        /// The GGUF model that the graft was trained on
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// The file to write, or the folder for peft
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A folder that Hugging Face PEFT loads
    Peft,
    /// An adapter file that llama.cpp loads beside the model
    Gguf,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft store list --store mine
  nightgraft store rollback --store mine
  nightgraft store export 7 --to gguf --model m.gguf --out mine.gguf --store mine

A graft is a version of the adapter. Status: `current` is in use, `former` was, `candidate` passed
the gate and never was, `refused` did not pass. A number under `deleted` says how many of the
examples that it learned from were deleted since. An export is not encrypted, also from an
encrypted store. A killed rotate-key goes on with the same command, given both keys.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    match &args.command {
        Command::List(store) => list(&store.open(false)?, verbosity)?,
        Command::Show { id, store } => show(&store.open(false)?, *id, verbosity)?,
        Command::Nights(store) => nights(&store.open(false)?, verbosity)?,
        Command::Promote { id, force, store } => {
            let mut store = store.open(false)?;
            if *force {
                store.promote_anyway(*id)?
            } else {
                store.promote(*id)?
            }
            print_current(Some(*id), verbosity)?;
        }
        Command::Rollback(store) => print_current(store.open(false)?.rollback()?, verbosity)?,
        Command::Delete { id, force, store } => {
            let mut store = store.open(false)?;
            if *force && store.current()? == Some(*id) {
                store.rollback()?;
            }
            store.delete_graft(*id)?;
            print_current(store.current()?, verbosity)?;
        }
        Command::Verify { repair, model, store } => return verify(store, model.clone(), *repair, verbosity),
        Command::RotateKey { new_key_file, store } => {
            store.rotate_key(read_key(new_key_file)?)?;
            if verbosity.json {
                output::json(&json!({ "rotated": true }))?;
            } else {
                output::line("every file is now under the new key; the old one opens nothing any more")?;
            }
        }
        Command::Destroy { store } => {
            let report = Store::destroy(store)?;
            if verbosity.json {
                output::json(&report)?;
            } else {
                output::line(format_args!("{} files removed", report.removed.len()))?;
                for path in &report.left {
                    output::line(format_args!("not a file of the store, and left: {}", path.display()))?;
                }
            }
        }
        Command::Export { id, to, model, out, store } => {
            let to = match to {
                Format::Peft => GraftFormat::Peft,
                Format::Gguf => GraftFormat::Gguf,
            };
            let store = store.open(false)?;
            export_graft(&store.reader(), *id, to, &catalogue::model_path(model.clone())?, out)?;
            if verbosity.json {
                output::json(&json!({ "path": out }))?;
            } else {
                output::line(out.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl StoreArgs {
    /// Opens the store; with `create`, one that is not there yet is begun.
    pub fn open(&self, create: bool) -> Result<Store> {
        self.open_with(StoreOptions { create, ..StoreOptions::default() })
    }

    /// Makes `new` the store's key, also if an earlier try was killed in the middle.
    fn rotate_key(&self, new: Key) -> Result<()> {
        match self.key.read()? {
            Some(former) => {
                let keys =
                    StoreOptions { key: Some(new), former_key: Some(former), ..StoreOptions::default() };
                drop(Store::open(&self.store, StoreOptions { create: false, ..keys })?);
            }
            // Says what is missing.
            None => self.open(false)?.rotate_key(new)?,
        }
        Ok(())
    }

    fn open_with(&self, options: StoreOptions) -> Result<Store> {
        Ok(Store::open(&self.store, StoreOptions { key: self.key.read()?, ..options })?)
    }
}

fn list(store: &Store, verbosity: Verbosity) -> Result<()> {
    let grafts = store.grafts()?;
    if verbosity.json {
        return output::json(&grafts);
    }
    if grafts.is_empty() {
        return output::line("no grafts");
    }
    let head = ["graft", "status", "added", "steps", "tokens", "examples", "deleted", "size", "base"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(grafts.iter().map(row));
    output::write(format::table(&rows, &[0, 3, 4, 5, 6, 7]))
}

fn row(graft: &GraftEntry) -> Vec<String> {
    let mut row = vec![graft.id.to_string(), graft.status.to_string()];
    match &graft.meta {
        Some(meta) => row.extend([
            format::date(meta.created),
            meta.steps.to_string(),
            format::count(meta.tokens),
            meta.trained_on.len().to_string(),
            graft.trained_on_deleted.len().to_string(),
            format::bytes(graft.bytes),
            short(&meta.base.to_string()),
        ]),
        None => row.extend(["", "", "", "", "", &format::bytes(graft.bytes), ""].map(str::to_owned)),
    }
    row
}

/// The beginning of a fingerprint.
fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(12).collect()
}

fn show(store: &Store, id: GraftId, verbosity: Verbosity) -> Result<()> {
    let Some(graft) = store.grafts()?.into_iter().find(|graft| graft.id == id) else {
        // Says that there is none.
        store.graft(id)?;
        return Ok(());
    };
    if verbosity.json {
        return output::json(&graft);
    }
    let Some(meta) = &graft.meta else {
        // Says what is wrong.
        store.graft(id)?;
        return Ok(());
    };
    let range = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    let trained_on = meta.trained_on.ranges().map(range).collect::<Vec<_>>().join(" ");
    let mut rows = vec![
        ("graft", meta.id.to_string()),
        ("status", graft.status.to_string()),
        ("added", format::date(meta.created)),
        ("base", meta.base.to_string()),
        ("went on from", meta.parent.map_or("the base".to_owned(), |id| format!("graft {id}"))),
        ("steps", format!("{}, kept is step {}", meta.steps, meta.best_step)),
        ("tokens", meta.tokens.to_string()),
        ("examples", format!("{}: {trained_on}", meta.trained_on.len())),
        ("size", format::bytes(graft.bytes)),
    ];
    if !graft.trained_on_deleted.is_empty() {
        let deleted: Vec<_> = graft.trained_on_deleted.iter().map(ToString::to_string).collect();
        rows.push(("deleted since", deleted.join(" ")));
    }
    output::write(format_args!(
        "{}\ngate: {}\n\nsettings:\n{}",
        format::pairs(&rows),
        meta.gate,
        meta.settings
    ))
}

fn nights(store: &Store, verbosity: Verbosity) -> Result<()> {
    let nights = night::nights(&store.reader())?;
    if verbosity.json {
        return output::json(&nights);
    }
    if nights.is_empty() {
        return output::line("no nights");
    }
    let head = ["began", "took", "worked", "steps", "ended", "waited"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(nights.iter().map(night_row));
    output::write(format::table(&rows, &[3]))
}

fn night_row(night: &NightRecord) -> Vec<String> {
    let ended = match &night.end {
        None => "killed".to_owned(),
        Some(NightEnd::GoesOn) => "goes on".to_owned(),
        Some(NightEnd::Stopped { by: None }) => "stopped".to_owned(),
        Some(NightEnd::Stopped { by: Some(reason) }) => format!("stopped: {reason}"),
        Some(NightEnd::NothingToDo { reason }) => format!("nothing to do: {reason}"),
        Some(NightEnd::Finished { graft: None, .. }) => "diverged".to_owned(),
        Some(NightEnd::Finished { graft: Some(id), promoted: true, .. }) => format!("graft {id}, in use"),
        Some(NightEnd::Finished { graft: Some(id), .. }) => format!("graft {id}, refused"),
        Some(_) => "failed".to_owned(),
    };
    let waits = night.waits.iter();
    let waits = waits.map(|wait| format!("{}: {}", wait.kind.label(), format::duration(wait.seconds)));
    vec![
        format::date(night.began),
        format::duration(night.seconds),
        format::duration(night.running),
        night.steps.to_string(),
        ended,
        waits.collect::<Vec<_>>().join("; "),
    ]
}

/// Says which graft is in use.
pub fn print_current(current: Option<GraftId>, verbosity: Verbosity) -> Result<()> {
    if verbosity.json {
        return output::json(&json!({ "current": current }));
    }
    match current {
        Some(id) => output::line(format_args!("graft {id} is in use")),
        None => output::line("the base model is in use, without a graft"),
    }
}

fn verify(args: &StoreArgs, model: Option<PathBuf>, repair: bool, verbosity: Verbosity) -> Result<ExitCode> {
    let options = StoreOptions { create: false, damaged: true, ..StoreOptions::default() };
    let mut store = args.open_with(options)?;
    let report = store.verify()?;
    let repaired = if repair { Some(store.repair()?) } else { None };
    if verbosity.json {
        output::json(&json!({ "verify": report, "repair": repaired }))?;
    } else {
        output::write(describe(&report, store.root()))?;
        if let Some(repaired) = &repaired {
            output::write(repaired.lost.iter().map(|lost| format!("lost: {lost}\n")).collect::<String>())?;
        }
    }
    if let Some(model) = model {
        session::verify_model(&store, &catalogue::model_path(model)?)?;
    }
    Ok(if report.is_valid() || repair { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(report: &VerifyReport, root: &Path) -> String {
    let shown = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let mut text = format!("{} files, {}\n", report.files, format::bytes(report.bytes));
    for Damage { path, problem } in &report.damaged {
        text.push_str(&format!("damaged: {}: {problem}\n", shown(path)));
    }
    for path in &report.unknown {
        text.push_str(&format!("not a file of the store: {}\n", shown(path)));
    }
    text.push_str(if report.is_valid() { "nothing is damaged\n" } else { "" });
    text
}
