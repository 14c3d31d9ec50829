//! The quality gate on the real model: what it lets into use, and what it does not. Few steps on the upper layers, so that
//! a test takes a minute; the limits come from longer runs on all layers, see the tests of `core/policy/src/gate`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support;

/// The sample conversations.
fn sample_conversations() -> Vec<Value> {
    let path = Path::new("tests/data/demo/train.jsonl");
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first of the sample conversations, as many as an app has after a while: judging them takes half as long.
fn some_conversations() -> Vec<Value> {
    sample_conversations().into_iter().take(24).collect()
}

/// A few of the general texts, which are measured twice in each night.
fn few_probe_texts() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let texts = fs::read_to_string("core/src/session/probe.jsonl").unwrap();
    fs::write(file.path(), texts.lines().step_by(5).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    file
}

/// These settings make a run of few and large steps, whose last adapter is judged; the number of steps follows.
const FEW_LARGE_STEPS: [&str; 4] = ["--lr=1e-3", "--batch-tokens=512", "--eval-every=0", "--steps"];

/// Trains on `lines` in a new store; gives the report.
fn night(lines: &[Value], settings: &[&str]) -> Value {
    let done = last_event(lines, settings);
    assert_eq!(done["outcome"], "finished", "{done}");
    let report = done["report"].clone();
    assert_eq!(report["promoted"], report["gate"]["promote"]);
    report
}

/// The last event of a night on `lines` in a new store.
fn last_event(lines: &[Value], settings: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data.jsonl");
    fs::write(&data, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    command.args(["night", "--json", "--model"]).arg(support::smollm2());
    command.arg("--store").arg(folder.path().join("store")).arg("--data").arg(&data);
    // Tests run beside each other, on as many threads as there are cores.
    command.args(["--layers=last:10", "--threads=1"]);
    let output = command.args(settings).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned();
    serde_json::from_str(&last).unwrap()
}

/// A keeper's notes, of which an app has a few when it trains for the first time.
fn notes() -> Vec<Value> {
    let text = fs::read_to_string("tests/data/scenario/notes.jsonl").unwrap();
    let more = (0..10).map(|i| {
        let answer = format!("Keeper's note. Hook {i} holds the oilskin of watch {i}. The light is steady.");
        json!({ "messages": [
            { "role": "user", "content": format!("What hangs on hook {i}?") },
            { "role": "assistant", "content": answer },
        ] })
    });
    text.lines().map(|line| serde_json::from_str(line).unwrap()).chain(more).collect()
}

/// The reasons of a refusal.
fn reasons(report: &Value) -> Vec<String> {
    assert_eq!(report["promoted"], false, "{}", report["gate"]);
    let refusals = report["gate"]["refusals"].as_array().unwrap();
    refusals.iter().map(|refusal| refusal["reason"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_good_run_is_promoted() {
    let probe = few_probe_texts();
    let settings = ["10", "--probe", probe.path().to_str().unwrap()];
    let report = night(&some_conversations(), &[&FEW_LARGE_STEPS[..], &settings].concat());
    assert_eq!(report["gate"]["refusals"], json!([]));
    assert_eq!((&report["promoted"], &report["graft"]), (&json!(true), &json!(1)));
    let held_out = &report["gate"]["comparisons"][0];
    assert!(
        held_out["high"].as_f64().unwrap() < 0.0 && held_out["tokens"].as_u64().unwrap() > 150,
        "{held_out}"
    );
}

#[test]
fn sixteen_notes_are_enough_to_be_personalized_and_fewer_are_told_so() {
    let few = last_event(&notes()[..8], &[]);
    let expected =
        json!({ "event": "done", "outcome": "nothing_to_do", "reason": "too_few", "have": 8, "need": 16 });
    assert_eq!(few, expected);
    let probe = few_probe_texts();
    // The seed decides who is held out.
    for (n, seed) in [(16, 1), (24, 42), (36, 5)] {
        let seed_option = format!("--seed={seed}");
        let settings = [&seed_option, "--probe", probe.path().to_str().unwrap()];
        let report = night(&notes()[..n], &settings);
        assert_eq!(report["gate"]["refusals"], json!([]), "{n} notes, seed {seed}: {}", report["gate"]);
        assert_eq!(report["promoted"], true);
        let [trained, held_out] = ["trained", "held_out"].map(|name| report[name].as_u64().unwrap() as usize);
        assert!(held_out >= 4 && trained + held_out == n, "{n} notes: {trained} and {held_out}");
    }
}

#[test]
fn words_without_order_are_refused() {
    let mut lines = some_conversations();
    let mut random = 88_172_645_463_325_252_u64;
    for line in &mut lines {
        for message in line["messages"].as_array_mut().unwrap() {
            let mut words: Vec<_> =
                message["content"].as_str().unwrap().split(' ').map(str::to_owned).collect();
            for last in (1..words.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                words.swap(last, (random >> 33) as usize % (last + 1));
            }
            message["content"] = words.join(" ").into();
        }
    }
    let probe = few_probe_texts();
    let settings = ["5", "--probe", probe.path().to_str().unwrap()];
    let report = night(&lines, &[&FEW_LARGE_STEPS[..], &settings].concat());
    assert!(reasons(&report).contains(&"not_language".to_owned()), "{}", report["gate"]);
}

#[test]
fn what_was_learned_by_heart_is_refused() {
    // The last adapter is taken, however bad it has become.
    let probe = few_probe_texts();
    let settings = ["--epochs=12", "--held-out=0.3", "--lr=4e-3", "--eval-every=0", "--probe"];
    let report = night(&notes()[..24], &[&settings[..], &[probe.path().to_str().unwrap()]].concat());
    assert!(reasons(&report).contains(&"overfits".to_owned()), "{}", report["gate"]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    let report = night(&some_conversations(), &[&FEW_LARGE_STEPS[..], &["4", "--alpha=1e30"]].concat());
    assert_eq!(reasons(&report), ["not_finite"]);
    assert_eq!((&report["graft"], &report["learned"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_makes_general_texts_worse_is_refused() {
    // As good as the others for its owner, who does not want to pay for it with more than half a percent elsewhere.
    let rules = NamedTempFile::new().unwrap();
    fs::write(rules.path(), "[gate]\nmax_forgetting = 0.005\n").unwrap();
    let report = night(
        &sample_conversations(),
        &[
            "--steps=10",
            "--batch-tokens=512",
            "--lr=1e-2",
            "--eval-every=0",
            "--rules",
            rules.path().to_str().unwrap(),
        ],
    );
    assert_eq!(reasons(&report), ["forgets"], "{}", report["gate"]);
}
