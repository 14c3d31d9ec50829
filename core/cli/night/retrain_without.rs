//! `retrain-without`: take examples out of the data and out of what was learned from it.

use std::process::ExitCode;

use anyhow::Result;
use nightgraft_store::{ExampleId, GraftId, GraftStatus, Store};

use super::{run_now, session_args::SessionArgs};
use crate::{Verbosity, failure::UsageError, output, settings::TrainSettings};

/// Delete examples, and learn anew without them
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Numbers of examples, as `journal list` shows them; none for those that are deleted already
    ids: Vec<ExampleId>,
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    settings: TrainSettings,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft retrain-without 17 23 --model smollm2-135m --store mine

The training starts from the newest graft that saw none of the deleted examples, else from the base
model, and learns all others. Grafts that saw them are deleted as soon as the new one is in use. If
it does not pass the gate they stay, and `nightgraft store` says how to be rid of them.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    args.settings.warn_of_options_unused_at_night(&args.settings.resolve()?, false);
    let request = args.session.request(&args.settings)?;
    let mut store = args.session.open_store(&args.settings)?;
    let is_there = |id: &ExampleId| store.examples().iter().any(|example| example.id == *id);
    if let Some(unknown) = args.ids.iter().find(|id| !is_there(id) && !store.deleted().contains(id.0)) {
        return Err(UsageError(format!(
            "there never was an example {unknown}; `nightgraft journal list` shows them"
        ))
        .into());
    }
    let live: Vec<_> = args.ids.iter().copied().filter(|id| !store.deleted().contains(id.0)).collect();
    if !live.is_empty() {
        let report = store.delete(&live)?;
        if verbosity.progress {
            output::note(format_args!("{} examples deleted", report.deleted.len()));
        }
    }
    let (code, mut store) = run_now::run_session(store, request, &args.settings, verbosity)?;
    let marked = marked(&store)?;
    if let Some((id, _)) = marked.iter().find(|(_, in_use)| *in_use) {
        output::note(format_args!(
            "graft {id}, which saw deleted examples, is still in use; `nightgraft store rollback` leaves it"
        ));
        return Ok(code);
    }
    for (id, _) in marked {
        store.delete_graft(id)?;
        if verbosity.progress {
            output::note(format_args!("graft {id} deleted"));
        }
    }
    Ok(code)
}

/// Grafts that saw deleted examples, and whether they are in use.
fn marked(store: &Store) -> Result<Vec<(GraftId, bool)>> {
    let grafts = store.grafts()?.into_iter().filter(|graft| !graft.trained_on_deleted.is_empty());
    Ok(grafts.map(|graft| (graft.id, graft.status == GraftStatus::Current)).collect())
}
