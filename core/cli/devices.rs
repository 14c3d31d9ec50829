//! `devices`: the GPUs of this machine, and whether they compute right and how fast.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use nightgraft_core::session::{
    Finding, ProbeOutcome, device_findings, forget_devices, gpus, is_software_allowed,
};
use nightgraft_gpu::{
    Adapter, AdapterInfo, Error, ProductCheck, Speed, Tile, check_products, measure_products,
};
use serde::Serialize;

use crate::{Verbosity, format, output, settings::device::device_records};

/// List the GPUs of this machine, what they can do, and why one would be refused
///
/// The numbers are those of `--device gpu:N`. Before a GPU trains a model of a kind for the first time, it is compared with the
/// processor with layers of that model; what was found is kept, and listed here.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Compare products on each GPU with the processor's, in every format of weights, and time them
    #[arg(long)]
    probe: bool,
    /// Use devices that are programs on the processor, too, such as Mesa's llvmpipe
    #[arg(long)]
    allow_software: bool,
    /// Forget what was found out about all GPUs, so that they are compared again, also one that ended the program
    #[arg(long)]
    retry: bool,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft devices
  nightgraft devices --probe
  nightgraft devices --probe --json | jq '.[] | {name, refusal}'
  nightgraft devices --retry

A probe takes some seconds, and longer on a device in software. If a device fails it, the exit code is 1.";

/// What is told of one device.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    info: AdapterInfo,
    /// Why it cannot be used.
    refusal: Option<String>,
    /// What was found out about it before models were trained with it.
    findings: Vec<Finding>,
    /// What the probe found; none without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<Probe>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Probe {
    /// It ran to its end.
    Done {
        /// Whether every product in the tile was right that is used if no other is.
        passed: bool,
        products: Vec<ProductCheck>,
        /// Unless one of those was wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        speed: Option<Speed>,
    },
    /// The device failed in the middle of it.
    Failed { error: String },
}

impl Probe {
    fn run(adapter: &Adapter, allow_software: bool) -> Self {
        Self::try_run(adapter, allow_software)
            .unwrap_or_else(|error| Self::Failed { error: error.to_string() })
    }

    fn try_run(adapter: &Adapter, allow_software: bool) -> Result<Self, Error> {
        let mut open = || adapter.open(allow_software).map(Arc::new);
        let products = check_products(&mut open)?;
        // A tile that every device can run: for others the fastest that is right takes their place.
        let is_plain = |check: &&ProductCheck| check.tile == Tile::LAST_RESORT;
        let passed = products.iter().filter(is_plain).all(ProductCheck::has_passed);
        let speed = if passed { Some(measure_products(&open()?, &products)?) } else { None };
        Ok(Self::Done { passed, products, speed })
    }

    fn has_passed(&self) -> bool {
        matches!(self, Self::Done { passed: true, .. })
    }
}

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    if args.retry
        && let Some(folder) = device_records()
    {
        forget_devices(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    let reports: Vec<Report> = gpus()?.iter().map(|adapter| report(adapter, args, verbosity)).collect();
    if verbosity.json {
        output::json(&reports)?;
    } else if reports.is_empty() {
        output::line("no GPU was found: there is no driver of Vulkan or Metal")?;
    } else {
        let texts: Vec<_> = reports.iter().map(describe).collect();
        output::write(texts.join("\n"))?;
    }
    let has_failed =
        reports.iter().filter_map(|report| report.probe.as_ref()).any(|probe| !probe.has_passed());
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(adapter: &Adapter, args: &Args, verbosity: Verbosity) -> Report {
    let info = adapter.info().clone();
    let refusal =
        adapter.refusal(args.allow_software || is_software_allowed()).map(|reason| reason.to_string());
    let probe = (args.probe && refusal.is_none()).then(|| {
        if verbosity.progress {
            output::note(format_args!("probing {}", info.name.escape_debug()));
        }
        Probe::run(adapter, args.allow_software || is_software_allowed())
    });
    let findings = device_records().map(|folder| device_findings(&folder, &info)).unwrap_or_default();
    Report { info, refusal, findings, probe }
}

fn describe(report: &Report) -> String {
    let Report { info, refusal, findings, probe } = report;
    let yes_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    let subgroups = match info.features.subgroup_sizes {
        None => "none".to_owned(),
        Some([least, most]) if least == most => format!("of {least}"),
        Some([least, most]) => format!("of {least} to {most}"),
    };
    let limits = info.limits;
    let mut rows = vec![
        ("device", info.index.to_string()),
        ("name", info.name.clone()),
        ("kind", info.kind.to_string()),
        ("driver", format!("{}, {} {}", info.backend, info.driver, info.driver_version)),
        ("largest buffer", format::bytes(limits.buffer_bytes)),
        ("largest binding", format::bytes(limits.binding_bytes)),
        ("storage buffers", limits.storage_buffers.to_string()),
        ("workgroup memory", format::bytes(limits.workgroup_bytes.into())),
        ("workgroup", format!("{} invocations", limits.workgroup_invocations)),
        ("half precision", yes_no(info.features.f16)),
        ("subgroups", subgroups),
        ("cooperative matrices", yes_no(info.features.cooperative_matrices)),
        (
            "can be used",
            match refusal {
                None => "yes".to_owned(),
                Some(reason) => format!("no: {reason}"),
            },
        ),
    ];
    rows.extend(findings.iter().map(|finding| ("was tried with", describe_finding(finding))));
    if let Some(probe) = probe {
        rows.extend(describe_probe(probe));
    }
    format::pairs(&rows)
}

fn describe_finding(Finding { model, outcome }: &Finding) -> String {
    match outcome {
        ProbeOutcome::Refused(why) => format!("{model}: not used, because {why}"),
        ProbeOutcome::Right {
            tensor,
            agreement,
            tiles: [forward, transposed],
            gpu_tokens_per_second: gpu,
            cpu_tokens_per_second: cpu,
        } => {
            let error = agreement.relative_error;
            format!(
                "{model}: right ({tensor} differs most, by {error:.0e}), {gpu:.0} tokens/s through a layer (the \
                 processor {cpu:.0}), tiles {forward} and {transposed}"
            )
        }
    }
}

fn describe_probe(probe: &Probe) -> Vec<(&'static str, String)> {
    let (products, speed) = match probe {
        Probe::Failed { error } => return vec![("probe", format!("failed: {error}"))],
        Probe::Done { products, speed, .. } => (products, speed),
    };
    let wrong: Vec<_> = products.iter().filter(|check| !check.has_passed()).collect();
    let mut rows =
        vec![("products", format!("{} of {} right", products.len() - wrong.len(), products.len()))];
    for check in wrong {
        let direction = if check.transposed { "transposed" } else { "forward" };
        let found = match check.cosine {
            Some(cosine) => {
                let error = check.relative_error.unwrap_or(0.0);
                format!("cosine {cosine:.4}, relative error {error:.1e}")
            }
            None => "no finite numbers".to_owned(),
        };
        rows.push(("wrong", format!("{}, {direction}, tile {}: {found}", check.format, check.tile)));
    }
    let Some(speed) = speed else { return rows };
    rows.push(("multiply-adds", rate(speed.peak_gflops)));
    rows.extend(speed.matrix_units_gflops.map(|peak| ("matrix units", rate(peak))));
    for (name, transposed) in [("product", false), ("transposed product", true)] {
        rows.extend(speed.fastest(transposed).map(|fastest| {
            let share = 100.0 * fastest.gflops / speed.peak_of(fastest.tile);
            (name, format!("{}, {share:.0} %, tile {}", rate(fastest.gflops), fastest.tile))
        }));
    }
    rows
}

fn rate(gflops: f64) -> String {
    if gflops < 1000.0 { format!("{gflops:.1} GFLOP/s") } else { format!("{:.1} TFLOP/s", gflops / 1000.0) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_gpu::ProductSpeed;

    use super::*;

    fn check(format: &'static str, cosine: Option<f64>) -> ProductCheck {
        let tile = Tile::unmeasured(1);
        ProductCheck { format, transposed: true, tile, cosine, relative_error: cosine.map(|c| 1.0 - c) }
    }

    #[test]
    fn a_probe_tells_what_was_wrong() {
        let products = vec![check("F32", Some(1.0)), check("Q4_K", Some(0.73)), check("Q6_K", None)];
        let probe = Probe::Done { passed: false, products, speed: None };
        let rows = describe_probe(&probe);
        let text: Vec<_> = rows.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            text,
            [
                "products: 1 of 3 right",
                "wrong: Q4_K, transposed, tile 16x32/2x4: cosine 0.7300, relative error 2.7e-1",
                "wrong: Q6_K, transposed, tile 16x32/2x4: no finite numbers",
            ]
        );
        assert!(!probe.has_passed());
        let failed = Probe::Failed { error: "the GPU was lost: reset".to_owned() };
        assert_eq!(describe_probe(&failed), [("probe", "failed: the GPU was lost: reset".to_owned())]);
    }

    #[test]
    fn a_probe_tells_the_fastest_tiles() {
        let product = |transposed, tile, gflops| ProductSpeed { transposed, tile, gflops };
        let [first, second, ..] = Tile::ALL;
        let products =
            vec![product(false, first, 250.0), product(false, second, 500.0), product(true, first, 1250.0)];
        let speed = Speed {
            peak_gflops: 2000.0,
            matrix_units_gflops: None,
            format: "Q4_K",
            n_tokens: 64,
            n_embd: 256,
            products,
        };
        let rows = describe_probe(&Probe::Done {
            passed: true,
            products: vec![check("F32", Some(1.0))],
            speed: Some(speed),
        });
        let values: Vec<_> = rows.into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            values,
            [
                "1 of 1 right",
                "2.0 TFLOP/s",
                "500.0 GFLOP/s, 25 %, tile 32x64/4x4",
                "1.2 TFLOP/s, 62 %, tile 16x32/2x4"
            ]
        );
    }
}
