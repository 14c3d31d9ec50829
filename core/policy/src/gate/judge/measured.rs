//! The default rules on what was measured with a real model.
//!
//! `measured.json` has the losses of each example, in nats, and its supervised tokens, for adapters trained by
//! this engine (SmolLM2-135M-Instruct Q4_1, rank 8 on all layers, cosine schedule, micro-batches of 512 tokens,
//! November 2026). The limits were chosen with most of these runs in sight, so this guards against changes and is no
//! independent proof. `retention` is `session/probe.jsonl`. `shuffled` goes with the base's `held_out`.

#![allow(clippy::unwrap_used)]

use serde::Deserialize;

use super::super::WordOrderLoss;
use super::*;

#[derive(Deserialize)]
struct Table {
    retention_of_base: Vec<(f64, u64)>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    data: String,
    lr: f64,
    /// Passes made, of so many that the schedule was for.
    epochs: u64,
    of: u64,
    seed: u64,
    /// What the default rules must answer: `promote`, or the refusals that must be among the answer's.
    expected: Vec<String>,
    base: Losses,
    shuffled: Vec<(f64, u64)>,
    candidate: Losses,
}

#[derive(Deserialize)]
struct Losses {
    held_out: Vec<(f64, u64)>,
    train: Vec<(f64, u64)>,
    retention: Option<Vec<(f64, u64)>>,
}

fn losses(figures: &[(f64, u64)]) -> Vec<ExampleLoss> {
    figures.iter().map(|&(loss, tokens)| ExampleLoss { loss, tokens }).collect()
}

impl Run {
    fn judge(&self, retention_of_base: &[(f64, u64)], seed: u64) -> GateReport {
        let set = |own: &Losses| ModelLosses {
            held_out: losses(&own.held_out),
            train: losses(&own.train),
            retention: losses(own.retention.as_deref().unwrap_or(retention_of_base)),
            order: Vec::new(),
        };
        let pairs = losses(&self.base.held_out).into_iter().zip(losses(&self.shuffled));
        let order = pairs.map(|(original, shuffled)| WordOrderLoss { original, shuffled }).collect();
        let base = ModelLosses { order, ..set(&self.base) };
        judge(&GateRules::default(), &base, None, &set(&self.candidate), seed)
    }

    fn name(&self) -> String {
        format!("{}, lr {}, {} of {} epochs, seed {}", self.data, self.lr, self.epochs, self.of, self.seed)
    }
}

fn names(report: &GateReport) -> Vec<String> {
    let name = |refusal| serde_json::to_value(refusal).unwrap()["reason"].as_str().unwrap().to_owned();
    report.refusals.iter().map(name).collect()
}

#[test]
fn good_runs_are_promoted_and_bad_ones_refused_whatever_the_seed() {
    let table: Table = serde_json::from_str(include_str!("measured.json")).unwrap();
    for run in &table.runs {
        for seed in [1, 42, 20_261_123] {
            let report = run.judge(&table.retention_of_base, seed);
            let found = names(&report);
            if run.expected == ["promote"] {
                assert!(report.promote, "{}: {report}", run.name());
            } else {
                let all = run.expected.iter().all(|refusal| found.contains(refusal));
                assert!(all && !report.promote, "{}: {report}", run.name());
            }
        }
    }
    let promoted = table.runs.iter().filter(|run| run.expected == ["promote"]).count();
    assert!(promoted >= 3 && table.runs.len() >= promoted + 4, "{promoted} of {}", table.runs.len());
}
