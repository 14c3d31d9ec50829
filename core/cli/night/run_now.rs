//! A session that runs now, on this machine, to its end.

use std::process::ExitCode;

use anyhow::Result;
use nightgraft_core::session::{Event, Session, SessionReport, SessionRequest, Slice, SliceOutcome};
use nightgraft_store::Store;
use serde::Serialize;

use crate::{
    Verbosity, failure, format, interrupt, output, progress::TrainProgress, settings::TrainSettings,
};

pub fn run(
    store: Store,
    request: SessionRequest,
    settings: &TrainSettings,
    verbosity: Verbosity,
) -> Result<ExitCode> {
    run_session(store, request, settings, verbosity).map(|(code, _)| code)
}

/// Gives the store back as well.
pub fn run_session(
    store: Store,
    request: SessionRequest,
    settings: &TrainSettings,
    verbosity: Verbosity,
) -> Result<(ExitCode, Store)> {
    let stop = interrupt::stop_flag("stopping and saving ...")?;
    let mut progress = TrainProgress::new(verbosity.progress);
    let mut written = Ok(());
    let mut show = |event: &Event| {
        let unused = settings.options_unused_in(event);
        for event in std::iter::once(event).chain(&unused) {
            if !verbosity.json {
                progress.show(event);
            } else if written.is_ok() {
                written = output::json(event);
            }
        }
        if written.is_err() {
            stop.raise(); // the reader has gone: save and end
        }
    };
    let mut session = Session::open(store, request, &mut show)?;
    let outcome = session.run_slice(Slice::default(), &stop, &mut show);
    progress.close();
    let outcome = outcome?;
    written?;
    report(&outcome, verbosity)?;
    let code = match outcome {
        SliceOutcome::Paused { .. } => failure::interrupted(),
        _ => ExitCode::SUCCESS,
    };
    Ok((code, session.into_store()))
}

/// The last line of `--json`.
#[derive(Serialize)]
struct DoneEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    outcome: &'a SliceOutcome,
}

fn report(outcome: &SliceOutcome, verbosity: Verbosity) -> Result<()> {
    if verbosity.json {
        return output::json(&DoneEvent { event: "done", outcome });
    }
    match outcome {
        SliceOutcome::Finished { report } => output::write(summary(report)),
        SliceOutcome::NothingToDo { reason } => output::line(format_args!("nothing to do: {reason}")),
        _ => {
            output::note("stopped, and saved; the same command goes on from there");
            Ok(())
        }
    }
}

fn summary(report: &SessionReport) -> String {
    let learned = match &report.learned {
        Some(learned) if learned.best_step == learned.steps => format!("{} steps", learned.steps),
        Some(learned) => {
            format!("{} steps, of which the first {} are kept", learned.steps, learned.best_step)
        }
        None => "diverged".to_owned(),
    };
    let examples =
        format!("{} ({} of them seen before), {} held out", report.trained, report.replayed, report.held_out);
    let graft = match (report.graft, report.promoted) {
        (Some(graft), true) => format!("{graft}, in use from now on"),
        (Some(graft), false) => format!("{graft}, kept but not used"),
        (None, _) => "none".to_owned(),
    };
    format::pairs(&[("examples", examples), ("learned", learned), ("graft", graft)])
        + &report.gate.to_string()
        + "\n"
}
