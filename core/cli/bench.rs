//! `bench`: how fast this machine trains a model.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use nightgraft_core::session::{self, BenchReport, BenchRequest};

use crate::{
    Verbosity, fetch::catalogue, format, interrupt, output, settings::BenchSettings, size::parse_size,
};

/// Measure how fast this machine trains a model, and how much memory that takes
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// How long to train
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    seconds: u64,
    /// Time every kind of operation, too
    #[arg(long)]
    profile: bool,
    /// Memory that it may take, such as 150MiB; the mapped model is not counted
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    #[command(flatten)]
    settings: BenchSettings,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft bench --model smollm2-135m
  nightgraft bench --model m.gguf --context 1024 --precision f32 --profile --seconds 20
  nightgraft bench --model m.gguf --device gpu --profile

Real optimizer steps on random tokens; nothing is written. The rate by processor time leaves out
what other programs take. A night is eight hours without a pause at this speed: phones keep about half.";

/// A night, for the estimate.
const NIGHT_HOURS: f64 = 8.0;

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let request = BenchRequest {
        model: catalogue::model_path(args.model.clone())?,
        config: args.settings.resolve()?,
        duration: Duration::from_secs(args.seconds),
        profile: args.profile,
        memory_limit: args.memory,
        devices: args.settings.devices(),
    };
    let stop = interrupt::stop_flag("stopping ...")?;
    let mut steps = 0;
    let report = session::bench(&request, &stop, &mut |speed| {
        steps += 1;
        if verbosity.progress {
            output::note(format!("step {steps}: {speed:.0} tokens/s"));
        }
    })?;
    if verbosity.json {
        output::json(&report)?;
    } else {
        output::warnings(&report.warnings);
        output::write(describe(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(report: &BenchReport) -> String {
    let share = 100.0 * report.gflops / report.gemm_gflops;
    let digits = if report.gemm_gflops < 10.0 { 2 } else { 0 };
    let night = report.tokens_per_second * NIGHT_HOURS * 3600.0;
    let device = match report.gpu {
        None => format!("{}, {} threads, {}", report.device, report.threads, report.precision),
        Some(_) => format!("{}, {}", report.device.escape_debug(), report.precision),
    };
    let compared = match report.gpu {
        None => "a product of f32 matrices reaches here",
        Some(_) => "multiply-adds without memory reach here",
    };
    let mut rows = vec![
        ("device", device),
        (
            "speed",
            format!(
                "{:.0} tokens/s; {:.0} by processor time",
                report.tokens_per_second, report.tokens_per_cpu_second
            ),
        ),
        (
            "steps",
            format!("{} of {} tokens, {} an example", report.steps, report.step_tokens, report.context),
        ),
        (
            "arithmetic",
            format!(
                "{:.*} GFLOP/s, {share:.0} % of what {compared} ({:.*})",
                digits, report.gflops, digits, report.gemm_gflops
            ),
        ),
        (
            "memory",
            format!(
                "{}, the mapped model not counted; planned {}",
                format::bytes(report.anonymous_bytes),
                format::bytes(report.plan.total)
            ),
        ),
        ("a night", format!("{} tokens in {NIGHT_HOURS} hours", format::count(night as u64))),
    ];
    if let Some(gpu) = report.gpu {
        let (up, down) = (format::bytes(gpu.bytes_up as u64), format::bytes(gpu.bytes_down as u64));
        rows.push((
            "a step",
            format!(
                "{:.0} submissions of up to {:.0} ms, {up} to the GPU, {down} back",
                gpu.submissions, gpu.longest_submission
            ),
        ));
    }
    let mut text = format::pairs(&rows);
    if !report.operations.is_empty() {
        text.push('\n');
        text.push_str(&table(report));
    }
    text
}

fn table(report: &BenchReport) -> String {
    let head = ["operation", "calls", "ms", "share", "GFLOP/s", "of GEMM"].map(str::to_owned).to_vec();
    let total: f64 = report.operations.iter().map(|operation| operation.milliseconds).sum();
    let rows = report.operations.iter().map(|operation| {
        let rate = |text: &dyn Fn(f64) -> String| operation.gflops.map(text).unwrap_or_default();
        vec![
            operation.name.clone(),
            format!("{:.0}", operation.calls),
            format!("{:.2}", operation.milliseconds),
            format!("{:.1} %", 100.0 * operation.milliseconds / total),
            rate(&|gflops| format!("{gflops:.0}")),
            rate(&|gflops| format!("{:.0} %", 100.0 * gflops / report.gemm_gflops)),
        ]
    });
    format::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), &[1, 2, 3, 4, 5])
}
