//! A run that was interrupted, in whatever way, ends in the same bytes as one that was not.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};

/// A tiny model and made-up examples in a folder.
struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&folder.path().join("tiny.gguf")).unwrap();
        let lines: String = (0..40)
            .map(|i| {
                let text = format!("note {i}: the {} boat has {} sails", i * 7 % 11, i * 3 % 5);
                format!("{}\n", serde_json::json!({ "text": text }))
            })
            .collect();
        std::fs::write(folder.path().join("notes.jsonl"), lines).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `nightgraft train` into `out`; dropout, accumulation and evaluation on, so that all state matters.
    fn train(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.arg("train").arg("--model").arg(self.path("tiny.gguf"));
        command.arg("--data").arg(self.path("notes.jsonl")).arg("--out").arg(self.path(out));
        command.args(["--epochs", "6", "--lr", "1e-3", "--dropout", "0.1", "--batch-tokens", "64"]);
        command.args(["--context", "64", "--accumulate", "2", "--checkpoint-every", "3", "--threads", "2"]);
        command.args(more).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn adapter(&self, out: &str) -> [Vec<u8>; 2] {
        let read = |name: &str| std::fs::read(self.path(out).join(name)).unwrap();
        [read("adapter/adapter_model.safetensors"), read("adapter.gguf")]
    }

    fn metrics(&self, out: &str) -> Vec<(u64, f64)> {
        let text = std::fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        let line = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (value["step"].as_u64().unwrap(), value["loss"].as_f64().unwrap())
        };
        text.lines().map(line).collect()
    }
}

fn scratch_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(scratch_files(&path));
        } else if path.to_string_lossy().contains("ngtmp") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    let sandbox = Sandbox::new();
    for precision in ["f32", "mixed"] {
        let out = |threads| format!("{precision}-{threads}");
        for threads in ["1", "2", "3"] {
            let more = ["--threads", threads, "--precision", precision];
            assert!(sandbox.train(&out(threads), &more).status().unwrap().success());
        }
        assert_eq!(sandbox.adapter(&out("1")), sandbox.adapter(&out("2")));
        assert_eq!(sandbox.adapter(&out("1")), sandbox.adapter(&out("3")));
    }
    assert_ne!(sandbox.adapter("f32-1"), sandbox.adapter("mixed-1"));
}

#[test]
fn killed_at_random_and_resumed_it_ends_in_the_same_bytes() {
    let sandbox = Sandbox::new();
    let began = Instant::now();
    assert!(sandbox.train("straight", &[]).status().unwrap().success());
    let longest = began.elapsed() / 5;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut kills = 0;
    for _ in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = longest.mul_f64((state >> 33) as f64 / (1_u64 << 31) as f64);
        let mut child = sandbox.train("killed", &[]).spawn().unwrap();
        std::thread::sleep(wait);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(sandbox.train("killed", &[]).status().unwrap().success());
    assert!(kills >= 3, "only {kills} kills before the end");
    assert_eq!(sandbox.adapter("straight"), sandbox.adapter("killed"));
    assert_eq!(sandbox.metrics("straight"), sandbox.metrics("killed"), "each step is there once");
    assert_eq!(scratch_files(&sandbox.path("killed")), Vec::<PathBuf>::new());
}

#[test]
fn a_rate_that_is_too_high_is_lowered_once_also_by_a_run_that_is_killed() {
    let sandbox = Sandbox::new();
    let high = ["--lr", "1", "--warmup", "0", "--checkpoint-every", "1", "--patience", "0", "--json"];
    let straight = sandbox.train("straight", &high).stdout(Stdio::piped()).output().unwrap();
    assert!(straight.status.success());
    let events = String::from_utf8(straight.stdout).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lowered: Vec<_> = events.filter(|event| event["event"] == "rate_lowered").collect();
    assert_eq!(lowered.len(), 1, "{lowered:?}");
    assert_eq!(lowered[0]["lr"], 0.25);
    for steps in 1..12 {
        let metrics = sandbox.path("killed/metrics.jsonl");
        let mut child = sandbox.train("killed", &high).spawn().unwrap();
        let lines = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        while lines() < steps && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(sandbox.train("killed", &high).status().unwrap().success());
    assert_eq!(sandbox.adapter("straight"), sandbox.adapter("killed"));
    assert_eq!(sandbox.metrics("straight"), sandbox.metrics("killed"));
}

/// A processor with AVX2 takes mixed precision where nothing is said, one without does not: what was begun goes on as it was.
#[cfg(all(unix, target_arch = "x86_64"))]
#[test]
fn a_run_keeps_its_precision_on_another_processor() {
    let sandbox = Sandbox::new();
    let on = |instructions: &str, out: &str| {
        let mut command = sandbox.train(out, &["--checkpoint-every", "0"]);
        command.env("NIGHTGRAFT_ISA", instructions);
        command
    };
    let precision = |out: &str| {
        let config = std::fs::read_to_string(sandbox.path(out).join("config.toml")).unwrap();
        config.lines().find(|line| line.starts_with("precision")).unwrap().to_owned()
    };
    assert!(on("avx2", "with").status().unwrap().success());
    assert_eq!(precision("with"), "precision = \"mixed\"");

    let mut child = on("avx2", "moved").spawn().unwrap();
    let metrics = sandbox.path("moved/metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before the first step");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(on("scalar", "moved").status().unwrap().success());
    assert_eq!(precision("moved"), precision("with"));
    assert_eq!(sandbox.adapter("moved"), sandbox.adapter("with"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_exits_with_130() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("straight", &[]).status().unwrap().success());
    // No periodic checkpoints: what is there afterwards was saved by the interrupt.
    let mut child = sandbox.train("stopped", &["--checkpoint-every", "0"]).spawn().unwrap();
    let metrics = sandbox.path("stopped/metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before the first step");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(sandbox.path("stopped/checkpoints")).unwrap().count(), 1);
    assert!(!sandbox.path("stopped/adapter").exists(), "an interrupted run has no result yet");
    assert!(sandbox.train("stopped", &["--checkpoint-every", "0"]).status().unwrap().success());
    assert_eq!(sandbox.adapter("straight"), sandbox.adapter("stopped"));
}

#[test]
fn a_run_with_other_settings_or_data_is_not_resumed() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("run", &[]).status().unwrap().success());
    let before = sandbox.adapter("run");
    let refused = |more: &[&str]| {
        let output = sandbox.train("run", more).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = refused(&["--rank", "4"]);
    assert!(message.contains("rank = 8") && message.contains("rank = 4"), "{message}");
    assert!(message.contains("--resume never"), "{message}");
    let message = refused(&["--seed", "1"]);
    assert!(message.contains("seed = 42") && message.contains("seed = 1"), "{message}");
    assert_eq!(sandbox.adapter("run"), before, "nothing was touched");
    assert!(sandbox.train("run", &["--rank", "4", "--resume", "never"]).status().unwrap().success());
    assert_ne!(sandbox.adapter("run"), before);
}

#[test]
fn a_finished_run_has_nothing_more_to_do() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("run", &[]).status().unwrap().success());
    let (adapter, metrics) = (sandbox.adapter("run"), sandbox.metrics("run"));
    assert!(sandbox.train("run", &[]).status().unwrap().success());
    assert_eq!((sandbox.adapter("run"), sandbox.metrics("run")), (adapter, metrics));
}

#[test]
fn after_a_divergence_the_last_adapter_with_a_loss_is_kept() {
    let sandbox = Sandbox::new();
    let run = ["--eval-every", "0", "--checkpoint-every", "0", "--schedule", "constant", "--warmup", "0"];
    // The decay multiplies the adapter by a huge factor a step: it overflows after some.
    let diverging =
        ["--lr", "1", "--weight-decay", "1e12", "--clip", "0", "--dropout", "0", "--epochs", "20"];
    let args: Vec<&str> = run.into_iter().chain(diverging).collect();
    let output = sandbox.train("diverged", &args).stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("is not finite") && message.contains("step"), "{message}");
    let mut eval = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    eval.arg("eval")
        .arg("--model")
        .arg(sandbox.path("tiny.gguf"))
        .arg("--data")
        .arg(sandbox.path("notes.jsonl"));
    let output = eval.arg("--adapter").arg(sandbox.path("diverged/adapter")).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["loss"].as_f64().unwrap().is_finite());
}

#[test]
fn what_cannot_be_replaced_at_the_end_is_refused_at_the_start() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("run/adapter")).unwrap();
    std::fs::write(sandbox.path("run/adapter/notes.txt"), "mine").unwrap();
    let output = sandbox.train("run", &[]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("adapter, which no earlier run wrote"));
    assert!(!sandbox.path("run/metrics.jsonl").exists(), "before the first step");
}

#[test]
fn a_run_that_cannot_start_leaves_the_earlier_one_alone() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("run", &[]).status().unwrap().success());
    let files = || std::fs::read_dir(sandbox.path("run/checkpoints")).unwrap().count();
    let (checkpoints, metrics) = (files(), sandbox.metrics("run"));
    assert!(checkpoints > 0);
    let output = sandbox.train("run", &["--resume", "never", "--layers", "0..99"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!((files(), sandbox.metrics("run")), (checkpoints, metrics));
}

#[test]
fn a_damaged_line_of_the_metrics_costs_only_itself() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("run", &[]).status().unwrap().success());
    let path = sandbox.path("run/metrics.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"step\": 3, \"lo";
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert!(sandbox.train("run", &[]).status().unwrap().success());
    assert_eq!(sandbox.metrics("run").len(), lines.len() - 1);
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.train("run", &["--epochs", "500"]).spawn().unwrap();
    while !sandbox.path("run/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = sandbox.train("run", &["--epochs", "500"]).stderr(Stdio::piped()).output().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("in use by another run"));
}
