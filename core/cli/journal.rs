//! `journal`: the examples that a store learns from.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Subcommand;
use nightgraft_store::{ExampleId, Store, StoredExample};
use serde_json::{Value, json};

use crate::{
    Verbosity, data_warnings, format, output,
    settings::{FormatArgs, data_file},
    store::{StoreArgs, print_current},
};

/// Add, list, delete and hand out the examples of a store
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add the examples of a file; those that are there already are not added again
    Add {
        /// A .jsonl file as for `train`, or a .txt file, which becomes one example; - for standard input
        #[arg(value_parser = data_file())]
        file: PathBuf,
        #[command(flatten)]
        format: FormatArgs,
        /// Leave bad lines out instead of stopping at the first
        #[arg(long)]
        skip_bad: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Show numbers, dates, kinds and sizes
    List {
        /// The texts too
        #[arg(long)]
        show: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Delete examples; their text is then in no file of the store
    Delete {
        /// Their numbers
        #[arg(required = true)]
        ids: Vec<ExampleId>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Delete examples, and what was learned from them
    Forget {
        /// Their numbers; those of examples that are deleted already, too
        #[arg(required = true)]
        ids: Vec<ExampleId>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Write all examples to a file that `journal add` reads; it is not encrypted
    Export {
        /// The .jsonl file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Put the journal into one file
    Compact(StoreArgs),
}

const EXAMPLES: &str = "\
Examples:
  nightgraft journal add chats.jsonl --store mine
  nightgraft journal list --store mine
  nightgraft journal delete 17 23 --store mine

Numbers are never given twice. What a graft learned from a deleted example stays in the graft, which
is marked: see `nightgraft store list`, and `nightgraft retrain-without`. `forget` also deletes
every graft that learned from it, at once: what was in use before and never saw it is used again,
or the base model, and the next night learns what is left.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    match &args.command {
        Command::Add { file, format, skip_bad, store } => {
            let report = store.open(true)?.import(file, format.format, *skip_bad)?;
            if verbosity.json {
                output::json(&report)?;
            } else {
                if report.skipped > 0 {
                    let warning = data_warnings::bad_lines(report.skipped as usize, report.lines as usize);
                    output::note(format_args!("warning: {warning}"));
                }
                output::line(format_args!("{} added, {} known already", report.added, report.known))?;
            }
        }
        Command::List { show, store } => list(&store.open(false)?, *show, verbosity)?,
        Command::Delete { ids, store } => {
            let report = store.open(false)?.delete(ids)?;
            if verbosity.json {
                output::json(&report)?;
            } else {
                output::line(format_args!("{} deleted", report.deleted.len()))?;
                for id in &report.marked_grafts {
                    output::line(format_args!("graft {id} learned from what was deleted"))?;
                }
                if report.session_dropped {
                    output::line("the unfinished session learned from it too and was dropped")?;
                }
            }
        }
        Command::Forget { ids, store } => {
            let report = store.open(false)?.forget(ids)?;
            if verbosity.json {
                output::json(&report)?;
            } else {
                output::line(format_args!("{} deleted", report.deleted.len()))?;
                for id in &report.deleted_grafts {
                    output::line(format_args!("graft {id} learned from what was forgotten and was deleted"))?;
                }
                if report.session_dropped {
                    output::line("the unfinished session learned from it too and was dropped")?;
                }
                print_current(report.current, verbosity)?;
            }
        }
        Command::Export { out, store } => {
            let n_examples = store.open(false)?.export_examples(out)?;
            if verbosity.json {
                output::json(&json!({ "path": out, "examples": n_examples }))?;
            } else {
                output::line(format_args!("{n_examples} examples written to {}", out.display()))?;
            }
        }
        Command::Compact(store) => {
            let mut store = store.open(false)?;
            store.compact()?;
            let bytes = store.bytes_used()?;
            if verbosity.json {
                output::json(&json!({ "bytes": bytes }))?;
            } else {
                output::line(format_args!("the store takes {}", format::bytes(bytes)))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store, show: bool, verbosity: Verbosity) -> Result<()> {
    if verbosity.json {
        let example = |example: &StoredExample| {
            let StoredExample { id, added, line } = example;
            let mut row = json!({ "id": id, "added": added, "kind": kind(line), "bytes": line.len() });
            if show {
                row["example"] = serde_json::from_str(line).unwrap_or(Value::Null);
            }
            row
        };
        let examples: Vec<_> = store.examples().iter().map(example).collect();
        return output::json(&json!({ "examples": examples, "deleted": store.deleted() }));
    }
    let mut rows = vec![["example", "added", "kind", "size"].map(str::to_owned).to_vec()];
    if show {
        rows[0].push("text".to_owned());
    }
    for StoredExample { id, added, line } in store.examples() {
        let mut row = vec![
            id.to_string(),
            format::date(*added),
            kind(line).to_owned(),
            format::bytes(line.len() as u64),
        ];
        row.extend(show.then(|| line.clone()));
        rows.push(row);
    }
    let n_deleted = store.deleted().len();
    output::write(format::table(&rows, &[0, 3]))?;
    output::line(format_args!("{} examples, {n_deleted} deleted", store.examples().len()))
}

/// The shape of an example.
fn kind(line: &str) -> &'static str {
    let value: Value = serde_json::from_str(line).unwrap_or(Value::Null);
    let kinds = [("messages", "chat"), ("prompt", "prompt"), ("text", "text"), ("input_ids", "tokens")];
    kinds.into_iter().find(|(key, _)| value.get(key).is_some()).map_or("unknown", |(_, kind)| kind)
}
