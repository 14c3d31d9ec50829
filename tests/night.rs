//! Sessions and nights through the command line: killed, stopped, changed under way, simulated.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};
use serde_json::Value;

use crate::support;

/// A model, made-up examples and stores in a folder.
pub struct Sandbox {
    folder: tempfile::TempDir,
    model: PathBuf,
    settings: Vec<&'static str>,
}

impl Sandbox {
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
            "--steps=8",
            "--lr=1e-3",
            "--layers=last:6",
            "--threads=1",
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
fn kill_at_random(sandbox: &Sandbox, wanted: usize, wait: std::ops::Range<u64>, checkpoint_every: u64) {
    sandbox.whole_night("straight", &[]);
    let expected = sandbox.graft("straight", &[]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut kills, mut stores) = (0, 0);
    while kills < wanted {
        let store = format!("killed-{stores}");
        stores += 1;
        let mut last_step = 0;
        loop {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let wait = Duration::from_millis(wait.start + (random >> 33) % (wait.end - wait.start));
            let log = sandbox.path("events.jsonl");
            let mut child = sandbox.night(&store, &[]).stdout(File::create(&log).unwrap()).spawn().unwrap();
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
                // Killed while the checkpoint of the last step was being written, it loses all of an interval.
                assert!(resumed + checkpoint_every >= last_step, "back at {resumed} after {last_step}");
            }
            last_step = numbers(&events, "step", "step").last().copied().unwrap_or(last_step);
            if over {
                break;
            }
        }
        assert!(sandbox.graft(&store, &[]) == expected, "{store} came to another adapter");
        assert_no_scratch(&sandbox.path(&store));
    }
    eprintln!("{kills} kills over {stores} runs");
}

#[test]
fn two_hundred_kills_do_not_change_a_byte() {
    kill_at_random(&Sandbox::tiny(), 200, 20..400, 3);
}

#[test]
fn twenty_kills_of_the_real_model_do_not_change_a_byte() {
    kill_at_random(&Sandbox::smollm2(), 20, 300..2000, 2);
}

/// One night of a trace on the tiny model; gives its events, and checks that the timeline was drawn.
fn replay(sandbox: &Sandbox, name: &str, more: &[&str]) -> Vec<Value> {
    let trace = Path::new("tests/data/nights").join(format!("{name}.csv"));
    let drawing = sandbox.path(&format!("{name}.svg"));
    let mut args = vec!["--trace", trace.to_str().unwrap(), "--timeline", drawing.to_str().unwrap()];
    args.extend(
        ["--speed=1500x", "--steps=2000", "--epochs=1"].iter().filter(|arg| !arg.starts_with("--epochs")),
    );
    args.extend(more);
    let events = sandbox.whole_night(name, &args);
    let svg = fs::read_to_string(drawing).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("loss") && svg.contains("battery"), "{name}");
    events
}

fn at(event: &Value) -> f64 {
    event["at"].as_f64().unwrap()
}

/// The times of all optimizer steps.
fn steps(events: &[Value]) -> Vec<f64> {
    events.iter().filter(|event| event["event"] == "step").map(at).collect()
}

fn reasons(events: &[Value]) -> Vec<String> {
    let told = events.iter().filter(|event| event["event"] == "waiting" || event["event"] == "running");
    told.map(|event| event["reason"].to_string()).collect()
}

/// Steps that may be told after something has ended the work: one that was ready, and one for the moment that it takes to
/// look at the device and to stop.
const LATE_STEPS: usize = 2;

#[test]
fn each_night_goes_as_its_trace_promises() {
    let mut sandbox = Sandbox::tiny();
    sandbox
        .settings
        .retain(|setting| !setting.starts_with("--epochs") && !setting.starts_with("--eval-every"));
    sandbox.settings.extend(["--eval-every=100", "--patience=0"]);
    let outcome = |events: &[Value]| events.last().unwrap()["outcome"].clone();

    let good = replay(&sandbox, "good-night", &[]);
    assert!(steps(&good).len() > 100 && outcome(&good) == "goes_on", "{}", steps(&good).len());
    assert!(good.iter().any(|event| event["event"] == "estimate"), "it says how much longer");

    let nights = |args: &[&str], store| sandbox.store(args, store).stdout;
    let kept: Value = serde_json::from_slice(&nights(&["nights", "--json"], "good-night")).unwrap();
    let [night] = &kept.as_array().unwrap()[..] else { panic!("{kept}") };
    assert_eq!((&night["steps"], &night["end"]["end"]), (&steps(&good).len().into(), &"goes_on".into()));
    let [running, seconds] = ["running", "seconds"].map(|key| night[key].as_f64().unwrap());
    assert!(running > 3600.0 && running <= seconds, "{night}");

    // Unplugged at 3:00, plugged in again at some time, known from the device's own words.
    let unplugged = replay(&sandbox, "unplugged-at-three", &[]);
    let mut steps_since_unplugged = None;
    for event in &unplugged {
        if event["event"] == "state" {
            let charging = event["charging"].as_bool().unwrap();
            steps_since_unplugged = if charging { None } else { steps_since_unplugged.or(Some(0)) };
        }
        if let (Some(steps), true) = (&mut steps_since_unplugged, event["event"] == "step") {
            *steps += 1;
            assert!(*steps <= LATE_STEPS, "a step without the charger: {event}");
        }
    }
    assert!(reasons(&unplugged).iter().any(|reason| reason.contains("not_charging")));

    // Slower first, then a pause, then on again.
    let hot = replay(&sandbox, "hot-room", &[]);
    let slow =
        hot.iter().position(|event| event["event"] == "running" && event["duty"].as_f64().unwrap() < 1.0);
    let paused = reasons(&hot).iter().any(|reason| reason.contains("too_warm"));
    let stopped = hot.iter().position(|event| event["reason"].to_string().contains("too_warm")).unwrap();
    assert!(slow.unwrap() < stopped && paused);
    assert!(steps(&hot[stopped + 3..]).len() > 3, "it goes on when it is cool again");

    // Only within the grants, and a kill costs less than the steps between two checkpoints.
    let android = replay(&sandbox, "android-ten-minutes", &[]);
    let grants: Vec<&[Value]> = android.split(|event| event["event"] == "slice").skip(1).collect();
    assert!(grants.len() >= 10);
    for grant in grants {
        // The time of a grant begins when its process has opened the store, which is real time, 1,500 times as fast here.
        let Some(began) = grant.iter().find(|event| event["event"] == "running").map(at) else { continue };
        let late = steps(grant).into_iter().filter(|&step| step > began + 600.0).count();
        assert!(late <= LATE_STEPS, "{late} steps after the grant that began at {began}");
    }
    assert_eq!(android.iter().filter(|event| event["event"] == "killed").count(), 2);
    let listed = String::from_utf8(nights(&["nights"], "android-ten-minutes")).unwrap();
    assert!(
        listed.starts_with("began  ") && listed.lines().count() == 2,
        "all its grants are one night: {listed}"
    );

    let ios = replay(&sandbox, "ios-two-minutes", &["--speed=200x"]);
    assert!(!steps(&ios).is_empty() && outcome(&ios) == "goes_on");
    let low = replay(&sandbox, "low-battery", &[]);
    assert!(reasons(&low).iter().any(|reason| reason.contains("battery_low")));
    let full = replay(&sandbox, "nearly-full-disk", &[]);
    assert!(reasons(&full).iter().any(|reason| reason.contains("storage_low")));
    let done = full.iter().find(|event| event["event"] == "done").unwrap();
    assert!(at(done) > 5.0 * 3600.0, "it waits until the morning");
}

#[test]
fn a_night_of_kills_comes_to_the_same_graft() {
    let sandbox = Sandbox::tiny();
    sandbox.whole_night("straight", &[]);
    // Killed every five minutes of the night; at this speed that is half a second.
    let trace = Path::new("tests/data/nights/good-night.csv");
    let drawing = sandbox.path("kills.svg");
    let args = ["--trace", trace.to_str().unwrap(), "--timeline", drawing.to_str().unwrap()];
    let events = sandbox.whole_night("killed", &[&args[..], &["--speed=600x", "--kill-every=5"]].concat());
    let kills = events.iter().filter(|event| event["event"] == "killed").count();
    assert!(kills >= 2, "{kills} kills");
    // One that was killed behind its last step has finished all the same, and the next finds nothing to do.
    let outcome = events.last().unwrap()["outcome"].as_str().unwrap();
    assert!(["finished", "nothing_to_do"].contains(&outcome), "{outcome}");
    assert!(sandbox.graft("killed", &[]) == sandbox.graft("straight", &[]));
    assert_no_scratch(&sandbox.path("killed"));
}

#[test]
fn a_store_belongs_to_one_process_at_a_time() {
    let sandbox = Sandbox::tiny();
    let mut first = sandbox.night("shared", &[]).stdout(Stdio::null()).spawn().unwrap();
    while !sandbox.path("shared/session").join("session.ngs").exists() {
        assert!(first.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(Duration::from_millis(2));
    }
    let second = sandbox.night("shared", &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
    assert!(first.wait().unwrap().success(), "the first one is not disturbed");
}

#[test]
fn ctrl_c_saves_and_the_same_command_goes_on() {
    let sandbox = Sandbox::tiny();
    sandbox.whole_night("straight", &[]);
    let mut child =
        sandbox.night("stopped", &["--checkpoint-every=0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    while !lines.next().unwrap().unwrap().contains("\"event\":\"step\"") {}
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let events = sandbox.whole_night("stopped", &[]);
    assert!(numbers(&events, "resumed", "step")[0] >= 1);
    assert!(sandbox.graft("stopped", &[]) == sandbox.graft("straight", &[]));
}

/// A session keeps what it was begun with as a run does, also where that has to be read from its checkpoint.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_session_keeps_its_precision_on_another_processor() {
    let sandbox = Sandbox::tiny();
    // Little to measure: without its instructions a processor is slow.
    let probe = sandbox.path("probe.jsonl");
    fs::write(&probe, "{\"text\": \"The ferry is late.\"}\n".repeat(8)).unwrap();
    let on = |instructions: &str, store: &str| {
        let mut command = sandbox.night(store, &[]);
        command.arg("--probe").arg(&probe).env("NIGHTGRAFT_ISA", instructions).stdout(Stdio::piped());
        command
    };
    let until = |event: &str, instructions: &str, store: &str| {
        let mut child = on(instructions, store).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().contains(event)), "{store}: no {event}");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130), "{store}");
    };
    assert!(on("avx2", "straight").output().unwrap().status.success());

    until("\"event\":\"step\"", "avx2", "moved");
    let output = on("scalar", "moved").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(sandbox.graft("moved", &[]) == sandbox.graft("straight", &[]));

    until("\"event\":\"step\"", "avx2", "damaged");
    fs::write(sandbox.path("damaged/session/session.ngs"), "no plan").unwrap();
    until("\"event\":\"resumed\"", "scalar", "damaged");
}

#[test]
fn retraining_without_an_example_replaces_and_deletes_what_saw_it() {
    let sandbox = Sandbox::tiny();
    sandbox.whole_night("without", &[]);
    assert!(sandbox.store(&["promote", "1", "--force"], "without").status.success());
    let list = sandbox.store(&["list", "--json"], "without");
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let seen = list[0]["meta"]["saw"][0][0].to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    command.args(["retrain-without", &seen, "--json", "--model"]).arg(&sandbox.model);
    command.arg("--store").arg(sandbox.path("without")).args(&sandbox.settings);
    // What a model of random weights learns does not pass the gate, so the marked graft stays, and that is said.
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("store rollback"));
    let list = sandbox.store(&["list", "--json"], "without");
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list[0]["saw_deleted"], serde_json::json!([seen.parse::<u64>().unwrap()]));
    assert_eq!((&list[1]["meta"]["parent"], &list[1]["saw_deleted"]), (&Value::Null, &serde_json::json!([])));
}
