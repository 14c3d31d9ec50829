//! `train`: from a model and a file of texts to an adapter.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use nightgraft_core::{
    config::Resume,
    session::{self, Event, OperationCount, Outcome, StopFlag, TrainReport, TrainRequest},
};
use serde::Serialize;

use crate::{
    Verbosity, failure,
    fetch::catalogue,
    format, interrupt, output,
    progress::TrainProgress,
    settings::{FormatArgs, TrainSettings, data_file},
    size::parse_size,
};

/// Train an adapter on your own texts or conversations
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// What to learn from: .jsonl with messages, prompt and completion, or text; a .txt file; - for standard input
    #[arg(long, value_name = "FILE", value_parser = data_file())]
    data: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// Examples to measure on, instead of a part of --data
    #[arg(long, value_name = "FILE", value_parser = data_file())]
    valid: Option<PathBuf>,
    /// Folder for the adapter, the curve and the checkpoints
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Start from this adapter (a PEFT folder or a GGUF file), with its own rank, alpha, targets and layers
    #[arg(long, value_name = "PATH")]
    init_adapter: Option<PathBuf>,
    /// Memory that the run may take, such as 300MiB; the mapped model is not counted
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    #[command(flatten)]
    settings: TrainSettings,
}

const EXAMPLES: &str = r#"Examples:
  nightgraft train --model smollm2-135m --data chats.jsonl --out mine --epochs 4
  nightgraft train --model m.gguf --data notes.txt --out mine --layers last:8 --context 512
  nightgraft train --model m.gguf --data d.jsonl --out mine --config mine/config.toml --lr 1e-4

A line of a .jsonl file is one of
  {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
  {"prompt": "...", "completion": "..."}
  {"text": "..."}
The loss is taken on all that the model must say in the assistant's turns, on the completion, or on
the whole text. A message with "weight": 0 is only read. "tools" beside the messages, "tool_calls"
and "reasoning_content" in them reach the chat template; what it does not show is an error.

--out holds, when it is done: adapter/ (PEFT), adapter.gguf (llama.cpp), loss.svg, metrics.jsonl
(a line for each step) and config.toml. Ctrl-C saves a checkpoint; the same command then goes on
from there."#;

pub fn run(args: Args, verbosity: Verbosity) -> Result<ExitCode> {
    let config = args.settings.resolve()?;
    args.settings.warn_of_unused_options(&config, args.valid.is_some());
    let request = TrainRequest {
        model: catalogue::model_path(args.model)?,
        data: args.data,
        format: args.format.format,
        valid: args.valid,
        out: args.out,
        requested_shape: args.settings.requested_shape(),
        init_adapter: args.init_adapter,
        config,
        memory_limit: args.memory,
        curve: Some(nightgraft_charts::LOSS_CURVE),
        devices: args.settings.devices(),
    };
    let unused = |event: &Event| args.settings.options_unused_in(event);
    let stop = interrupt::stop_flag("stopping after this step and saving a checkpoint ...")?;
    let report = if verbosity.json {
        train_json(&request, &stop, &unused)?
    } else {
        train_with_progress(&request, &stop, verbosity, &unused)?
    };
    if report.outcome != Outcome::Interrupted {
        return Ok(ExitCode::SUCCESS);
    }
    output::note(resume_hint(&request, &report));
    Ok(failure::interrupted())
}

/// One JSON object per event on standard output, the report last. A reader that goes away stops the run as Ctrl-C does.
fn train_json(
    request: &TrainRequest,
    stop: &StopFlag,
    unused: &dyn Fn(&Event) -> Vec<Event>,
) -> Result<TrainReport> {
    let mut written = Ok(());
    let report = session::train(request, stop, &mut |event| {
        if written.is_ok() {
            written = output::json(event).and_then(|()| unused(event).iter().try_for_each(output::json));
        }
        if written.is_err() {
            stop.raise();
        }
    })?;
    if report.outcome == Outcome::Interrupted
        && let Err(error) = written
    {
        bail!("{error}; {}", resume_hint(request, &report));
    }
    output::json(&DoneEvent { event: "done", report: &report })?;
    Ok(report)
}

/// The last line of `--json`.
#[derive(Serialize)]
struct DoneEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    report: &'a TrainReport,
}

fn train_with_progress(
    request: &TrainRequest,
    stop: &StopFlag,
    verbosity: Verbosity,
    unused: &dyn Fn(&Event) -> Vec<Event>,
) -> Result<TrainReport> {
    let mut progress = TrainProgress::new(verbosity.progress);
    let report = session::train(request, stop, &mut |event: &Event| {
        progress.show(event);
        unused(event).iter().for_each(|warning| progress.show(warning));
    });
    progress.close();
    let report = report?;
    if report.outcome != Outcome::Interrupted {
        output::write(summary(request, &report))?;
    }
    Ok(report)
}

fn summary(request: &TrainRequest, report: &TrainReport) -> String {
    let out = request.out.display();
    let speed = match report.seconds {
        seconds if seconds > 0.0 => {
            format!(", {} at {:.0} tokens/s", format::duration(seconds), report.tokens as f64 / seconds)
        }
        _ => String::new(), // an earlier run had made all steps
    };
    let mut rows = vec![("steps", format!("{}{speed}", report.steps))];
    if report.outcome == Outcome::EarlyStopped {
        rows.push(("stopped early", "the held-out loss no longer fell (--patience)".to_owned()));
    }
    if let (Some(before), Some(after)) = (report.held_out_before, report.held_out_after) {
        rows.push(("held-out perplexity", perplexity_change(before, after)));
    }
    let kept = if report.best_step == report.steps {
        String::new()
    } else {
        format!(", as it was after step {}, the best on the held-out examples", report.best_step)
    };
    rows.push(("adapter", format!("{out}/adapter (PEFT), {out}/adapter.gguf (llama.cpp){kept}")));
    let OperationCount { cpu, gpu } = report.operations;
    let computed = match (cpu, gpu) {
        (_, 0) => String::new(),
        (cpu, gpu) => {
            format!(", {} operations on a GPU, {} on the processor", format::count(gpu), format::count(cpu))
        }
    };
    let devices = match report.devices.as_slice() {
        [] => &report.device,
        devices => &devices.join(", then "),
    };
    rows.push(("device", format!("{}{computed}", devices.escape_debug())));
    rows.push(("loss curve", format!("{out}/loss.svg")));
    format::pairs(&rows)
}

/// From two mean losses in nats.
fn perplexity_change(before: f64, after: f64) -> String {
    let (before, after) = (before.exp(), after.exp());
    format!("{before:.2} before, {after:.2} after ({:+.1} %)", (after / before - 1.0) * 100.0)
}

fn resume_hint(request: &TrainRequest, report: &TrainReport) -> String {
    let again = match request.config.run.resume {
        Resume::Auto => "the same command goes on from there",
        Resume::Never => "the same command with --resume auto goes on from there",
    };
    match &report.checkpoint {
        Some(at) => {
            format!("stopped after step {}; the checkpoint is in {}; {again}", report.steps, at.display())
        }
        None => format!("stopped after step {}", report.steps),
    }
}
