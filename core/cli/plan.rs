//! `plan`: what training a model takes in memory.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::session::{self, MemoryPlan, PlanRequest};

use crate::{
    Verbosity, fetch::catalogue, format, interrupt, output, settings::BenchSettings, size::parse_size,
};

/// Tell what training a model takes in memory, and what it computes again to take less
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Memory that the run may take, such as 300MiB; the mapped model is not counted
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    #[command(flatten)]
    settings: BenchSettings,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft plan --model smollm2-135m --memory 200MiB
  nightgraft plan --model m.gguf --context 1024 --rank 16 --json

The peak of `train` with the same --memory, --batch-tokens and other settings, its examples left out.
Here a micro-batch is one example unless --batch-tokens or --config is given. The result of a run does not depend
on its budget, to the last bit.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let request = PlanRequest {
        model: catalogue::model_path(args.model.clone())?,
        config: args.settings.resolve()?,
        memory_limit: args.memory,
        devices: args.settings.devices(),
    };
    let report = session::plan(&request, &interrupt::stop_flag("stopping ...")?)?;
    if verbosity.json {
        output::json(&report)?;
    } else {
        output::warnings(&report.warnings);
        output::write(describe(&report.memory))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(plan: &MemoryPlan) -> String {
    let MemoryPlan { tokens, layers, head_rows, .. } = plan;
    let keeping = format!(
        "values for the backward: attention of {} of {layers} layers, feed-forward of {}",
        plan.keep_attention, plan.keep_feed_forward
    );
    let rows = [
        ("process", plan.process, "code's own data; examples come on top".to_owned()),
        ("adapter", plan.adapter, "values and gradients".to_owned()),
        ("optimizer", plan.optimizer, "two moments".to_owned()),
        (
            "copies",
            plan.copies,
            "the best adapter so far, and what an interrupted step goes back to".to_owned(),
        ),
        ("stream", plan.model.residual, format!("inputs of {layers} layers for {tokens} tokens")),
        ("kept", plan.model.saved, keeping),
        ("arena", plan.model.arena, format!("intermediate results; logits of {head_rows} tokens at once")),
        ("graphs", plan.model.graphs, "lists of operations".to_owned()),
        ("threads", plan.scratch, "scratch space".to_owned()),
        ("total", plan.total, "the mapped model not counted".to_owned()),
    ];
    let rows = rows.into_iter().map(|(name, bytes, what)| vec![name.to_owned(), format::bytes(bytes), what]);
    let mut rows: Vec<_> = rows.collect();
    if let Some(gpu) = &plan.gpu {
        let counted = if gpu.is_shared { "counted above, with" } else { "not counted above:" };
        let what = format!("on the GPU, {counted} the model's matrices, the adapter, stream, kept and arena");
        rows.push(vec!["gpu".to_owned(), format::bytes(gpu.total()), what]);
    }
    format::table(&rows, &[1])
}
