//! The versions of the adapter, as apps see them.

use nightgraft_policy::gate::{EvalSet, GateReport, ModelRole};
use nightgraft_store as store;

use crate::refusal::Refusal;

/// A trained version of the adapter.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Graft {
    /// Its number; none is ever given twice.
    pub id: u64,
    /// What it is good for.
    pub status: GraftStatus,
    /// Bytes of its file.
    pub bytes: u64,
    /// When it was made, in seconds since 1970; none if it is damaged.
    pub created: Option<i64>,
    /// The graft that training went on from; none for the base.
    pub parent: Option<u64>,
    /// Examples that it or one of its ancestors was trained on.
    pub examples: u64,
    /// Optimizer steps of its session.
    pub steps: u64,
    /// Tokens that were trained on, repetitions included.
    pub tokens: u64,
    /// What the gate said; none if it is damaged.
    pub verdict: Option<Verdict>,
    /// Deleted examples that it has seen: a reason to delete it too.
    pub saw_deleted: Vec<u64>,
    /// Why it cannot be read, if so.
    pub problem: Option<String>,
}

/// What a graft is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum GraftStatus {
    /// In use.
    Current,
    /// Was in use before.
    Former,
    /// The gate let it pass, and it was never in use.
    Candidate,
    /// The gate refused it, and it was never in use.
    Refused,
    /// Its file cannot be read.
    Damaged,
}

/// A form in which other programs read an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum GraftFormat {
    /// A folder as Hugging Face's PEFT writes it.
    Peft,
    /// llama.cpp's adapter file.
    Gguf,
}

/// What the quality gate measured and decided. Losses are means in nats per token; lower is better.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Verdict {
    /// Whether it may be used.
    pub promote: bool,
    /// Why not.
    pub refusals: Vec<Refusal>,
    /// Loss on held-out examples with what was in use before: a graft, or the base.
    pub held_out_before: Option<f64>,
    /// Loss on held-out examples with the new adapter.
    pub held_out_after: Option<f64>,
    /// Loss on general texts with the base.
    pub retention_before: Option<f64>,
    /// Loss on general texts with the new adapter.
    pub retention_after: Option<f64>,
    /// All of it in a few plain lines.
    pub text: String,
}

impl From<&GateReport> for Verdict {
    fn from(report: &GateReport) -> Self {
        let of = |set, against| report.comparisons.iter().find(|c| c.set == set && c.against == against);
        let held_out = of(EvalSet::HeldOut, ModelRole::Current).or(of(EvalSet::HeldOut, ModelRole::Base));
        let retention = of(EvalSet::Retention, ModelRole::Base);
        Self {
            promote: report.promote,
            refusals: report.refusals.iter().map(Refusal::from).collect(),
            held_out_before: held_out.map(|c| c.reference_loss),
            held_out_after: held_out.map(|c| c.candidate_loss),
            retention_before: retention.map(|c| c.reference_loss),
            retention_after: retention.map(|c| c.candidate_loss),
            text: report.to_string(),
        }
    }
}

impl From<store::GraftEntry> for Graft {
    fn from(entry: store::GraftEntry) -> Self {
        let store::GraftEntry { id, bytes, status, meta, trained_on_deleted, problem } = entry;
        let meta = meta.as_ref();
        Self {
            id: id.0,
            status: match status {
                store::GraftStatus::Current => GraftStatus::Current,
                store::GraftStatus::Former => GraftStatus::Former,
                store::GraftStatus::Candidate => GraftStatus::Candidate,
                store::GraftStatus::Refused => GraftStatus::Refused,
                store::GraftStatus::Damaged => GraftStatus::Damaged,
            },
            bytes,
            created: meta.map(|meta| meta.created),
            parent: meta.and_then(|meta| meta.parent).map(|id| id.0),
            examples: meta.map_or(0, |meta| meta.trained_on.len()),
            steps: meta.map_or(0, |meta| meta.steps),
            tokens: meta.map_or(0, |meta| meta.tokens),
            verdict: meta.map(|meta| Verdict::from(&meta.gate)),
            saw_deleted: trained_on_deleted.into_iter().map(|id| id.0).collect(),
            problem: problem.map(|problem| problem.to_string()),
        }
    }
}
