//! Sessions and nights through the command line: killed, stopped, changed under way, simulated.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nightgraft_core::testing::{CHATML, TinyModel};
use nightgraft_kernels::WeightType;
use serde_json::Value;

use crate::support;

/// A model, made-up examples and stores in a folder.
pub struct Place {
    folder: tempfile::TempDir,
    model: PathBuf,
    settings: Vec<&'static str>,
}

impl Place {
    /// A tiny model; dropout, accumulation and evaluation on, so that all state matters.
    pub fn tiny() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("tiny.gguf");
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&model).unwrap();
        let settings = vec![
            "--epochs=6",
            "--lr=1e-3",
            "--dropout=0.1",
            "--batch-tokens=64",
            "--context=64",
            "--accumulate=2",
            "--checkpoint-every=3",
            "--threads=2",
            "--held-out=0.2",
            "--eval-every=5",
        ];
        Self::new(folder, model, settings)
    }

    /// The real model, with little to do.
    pub fn smollm2() -> Self {
        let settings = vec![
            "--steps=12",
            "--lr=1e-3",
            "--layers=last:6",
            "--batch-tokens=128",
            "--context=128",
            "--checkpoint-every=2",
            "--held-out=0.2",
            "--eval-every=4",
        ];
        Self::new(tempfile::tempdir().unwrap(), support::smollm2(), settings)
    }

    fn new(folder: tempfile::TempDir, model: PathBuf, settings: Vec<&'static str>) -> Self {
        let lines: String = (0..40)
            .map(|i| {
                let text =
                    format!("note {i}: the {} boat has {} sails and a red hull", i * 7 % 11, i * 3 % 5);
                format!("{}\n", serde_json::json!({ "text": text }))
            })
            .collect();
        fs::write(folder.path().join("notes.jsonl"), lines).unwrap();
        Self { folder, model, settings }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `nightgraft night --json` on a store of this name.
    pub fn night(&self, store: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.args(["night", "--json", "--model"]).arg(&self.model);
        command.arg("--data").arg(self.path("notes.jsonl")).arg("--store").arg(self.path(store));
        command.args(&self.settings).args(more).stdin(Stdio::null());
        command
    }

    /// Runs it to its end; gives its events.
    pub fn whole_night(&self, store: &str, more: &[&str]) -> Vec<Value> {
        let output = self.night(store, more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        events(&output.stdout)
    }

    pub fn store(&self, args: &[&str], store: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.arg("store").args(args).arg("--store").arg(self.path(store));
        command.output().unwrap()
    }

    /// The bytes of the last graft's adapter, as PEFT reads it.
    pub fn graft(&self, store: &str, more: &[&str]) -> Vec<u8> {
        let out = self.path(&format!("{store}.peft"));
        let list = self.store(&[&["list", "--json"], more].concat(), store);
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        let id = list.as_array().unwrap().last().unwrap()["id"].to_string();
        let (model, to) = (self.model.to_str().unwrap(), out.to_str().unwrap());
        let args = ["export", &id, "--to", "peft", "--model", model, "--out", to];
        let exported = self.store(&[&args, more].concat(), store);
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        fs::read(out.join("adapter_model.safetensors")).unwrap()
    }
}

pub fn events(stdout: &[u8]) -> Vec<Value> {
    // A process that was killed may have left half a line.
    String::from_utf8_lossy(stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The numbers at `key` in all events of this name.
fn numbers(events: &[Value], event: &str, key: &str) -> Vec<u64> {
    let named = events.iter().filter(|value| value["event"] == event);
    named.map(|value| value[key].as_u64().unwrap()).collect()
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

fn assert_no_scratch(store: &Path) {
    let left: Vec<_> =
        files_below(store).into_iter().filter(|path| path.to_string_lossy().contains("ngtmp")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

/// Kills a run at random times, `wanted` times, beginning again with new stores when one has come to its end; each of
/// them must have come to the same graft as one that nobody killed.
fn kill_at_random(place: &Place, wanted: usize, wait: std::ops::Range<u64>, checkpoint_every: u64) {
    place.whole_night("straight", &[]);
    let expected = place.graft("straight", &[]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut kills, mut stores) = (0, 0);
    while kills < wanted {
        let store = format!("killed-{stores}");
        stores += 1;
        let mut last_step = 0;
        loop {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let wait = Duration::from_millis(wait.start + (random >> 33) % (wait.end - wait.start));
            let log = place.path("events.jsonl");
            let mut child = place.night(&store, &[]).stdout(File::create(&log).unwrap()).spawn().unwrap();
            if kills < wanted {
                std::thread::sleep(wait);
            }
            let over = match child.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success());
                    true
                }
                None if kills < wanted => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    false
                }
                None => child.wait().unwrap().success(),
            };
            let events = events(&fs::read(&log).unwrap());
            for resumed in numbers(&events, "resumed", "step") {
                assert!(resumed + checkpoint_every > last_step, "back at {resumed} after {last_step}");
            }
            last_step = numbers(&events, "step", "step").last().copied().unwrap_or(last_step);
            if over {
                break;
            }
        }
        assert!(place.graft(&store, &[]) == expected, "{store} came to another adapter");
        assert_no_scratch(&place.path(&store));
    }
    eprintln!("{kills} kills over {stores} runs");
}

#[test]
fn two_hundred_kills_do_not_change_a_byte() {
    kill_at_random(&Place::tiny(), 200, 20..400, 3);
}

#[test]
fn twenty_kills_of_the_real_model_do_not_change_a_byte() {
    kill_at_random(&Place::smollm2(), 20, 300..4000, 2);
}
