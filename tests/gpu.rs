//! Training on a GPU as a person starts it, on one in software: it computes what the processor does, is stopped and killed without a
//! trace, and whatever it does wrong, the run ends on the processor.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};
use serde_json::Value;

/// Losses of both differ by rounding, which Adam makes grow.
const CURVE_TOLERANCE: f64 = 1e-3;
const TRAINED: &str = "--lr 1e-3 --dropout 0.1 --batch-tokens 48 --context 48 --accumulate 2 --checkpoint-every 2 --threads 2 \
     --precision f32 --layers last:1 --rank 4";

/// A tiny model, made-up notes, and a cache of its own.
struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a command printed.
struct Ran {
    output: Output,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&folder.path().join("tiny.gguf")).unwrap();
        let note =
            |i: u32| format!("note {i}: the {} boat has {} sails and {} oars", i * 7 % 11, i * 3 % 5, i % 8);
        let lines: String =
            (0..40).map(|i| format!("{}\n", serde_json::json!({ "text": note(i) }))).collect();
        fs::write(folder.path().join("notes.jsonl"), lines).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.args(args.split_whitespace()).current_dir(self.folder.path());
        command.env("NIGHTGRAFT_CACHE", self.path("cache")).env("NIGHTGRAFT_GPU", "software");
        command.env_remove("NIGHTGRAFT_GPU_FAULT").env_remove("NIGHTGRAFT_GPU_LIMITS");
        command
    }

    fn run(&self, args: &str) -> Ran {
        Ran { output: self.command(args).output().unwrap() }
    }

    fn train(&self, out: &str, more: &str) -> Command {
        self.command(&format!(
            "train --json --model tiny.gguf --data notes.jsonl --out {out} {TRAINED} {more}"
        ))
    }

    /// Trains with a fault of the GPU.
    fn train_with_fault(&self, out: &str, fault: &str, more: &str) -> Ran {
        let output = self.train(out, more).env("NIGHTGRAFT_GPU_FAULT", fault).output().unwrap();
        Ran { output }
    }

    /// Changes what was found out for runs of a precision.
    fn set_found(&self, precision: &str, what: &str, value: Value) {
        let records = fs::read_dir(self.path("cache/gpu")).unwrap().map(|entry| entry.unwrap().path());
        let end = format!("-{precision}.json");
        let record = records.into_iter().find(|path| path.to_string_lossy().ends_with(&end)).unwrap();
        let mut found: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        found[what] = value;
        fs::write(&record, found.to_string()).unwrap();
    }

    /// What `devices` tells of models that the GPU was tried with.
    fn findings(&self) -> Vec<Value> {
        self.run("devices --json").ok().report()[0]["findings"].as_array().unwrap().clone()
    }

    fn adapter(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("adapter/adapter_model.safetensors")).unwrap()
    }

    /// The steps of a run and their losses.
    fn losses(&self, out: &str) -> Vec<(u64, f64)> {
        let text = fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap())).collect()
    }
}

impl Ran {
    fn ok(self) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert!(self.output.status.success(), "{}{}", text(&self.output.stdout), text(&self.output.stderr));
        self
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The report at the end.
    fn report(&self) -> Value {
        self.lines().pop().unwrap()
    }

    /// What was said about devices, without their names.
    fn about_devices(&self) -> Vec<Value> {
        let mut events = self.lines();
        events.retain(|event| event["event"] == "device");
        events.iter_mut().for_each(|event| drop(event.as_object_mut().unwrap().remove("device")));
        events
    }
}

fn assert_same_curve(got: &[(u64, f64)], expected: &[(u64, f64)]) {
    assert_eq!(got.len(), expected.len());
    for ((step, got), (expected_step, expected)) in got.iter().zip(expected) {
        assert_eq!(step, expected_step);
        assert!((got / expected - 1.0).abs() < CURVE_TOLERANCE, "step {step}: {got} instead of {expected}");
    }
}

#[test]
fn thirty_steps_follow_the_processor_and_nothing_is_left_to_it() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("cpu", "--steps 30").stdout(Stdio::null()).status().unwrap().success());
    let ran = Ran { output: sandbox.train("gpu", "--steps 30 --device gpu").output().unwrap() }.ok();
    assert_same_curve(&sandbox.losses("gpu"), &sandbox.losses("cpu"));
    let report = ran.report();
    assert!(report["device"].as_str().unwrap().contains("llvmpipe"), "{report}");
    assert_eq!(report["operations"]["cpu"], 0);
    assert!(report["operations"]["gpu"].as_u64().unwrap() > 1000);
    let told: Vec<_> = ran.about_devices().iter().map(|event| event["device_event"].clone()).collect();
    assert_eq!(told, ["probing", "chosen"]);
    // A run in mixed precision may have half precision in products, and has it where that is faster.
    let mixed = "--steps 30 --device gpu --precision mixed";
    assert!(sandbox.train("mixed", mixed).stdout(Stdio::null()).status().unwrap().success());
    for (tile, is_other) in [("32x64/4x4 f16", true), ("64x64/4x4", false), ("8x512/8x4 subgroup", false)] {
        sandbox.set_found("mixed", "tiles", serde_json::json!([tile, tile]));
        let out = tile.replace(['/', ' '], "-");
        let ran = Ran { output: sandbox.train(&out, mixed).output().unwrap() }.ok();
        assert_eq!(ran.report()["operations"]["cpu"], 0);
        let (got, expected) = (sandbox.losses(&out), sandbox.losses("cpu"));
        assert!(got.iter().zip(&expected).all(|(got, expected)| (got.1 / expected.1 - 1.0).abs() < 1e-2));
        assert_eq!(got != sandbox.losses("gpu"), is_other, "{tile}");
    }
    // What was found out is known from then on.
    let ran = Ran { output: sandbox.train("again", "--steps 1 --device gpu:0").output().unwrap() }.ok();
    let told: Vec<_> = ran.about_devices().iter().map(|event| event["device_event"].clone()).collect();
    assert_eq!(told, ["chosen"]);
    // A program on the processor is not faster than the processor.
    let ran = Ran { output: sandbox.train("auto", "--steps 1 --device auto").output().unwrap() }.ok();
    assert_eq!(ran.about_devices().last().unwrap()["why"], "slower");
    assert_eq!(ran.report()["operations"]["gpu"], 0);
    sandbox.set_found("f32", "gpu_tokens_per_second", 1e9.into());
    let ran = Ran { output: sandbox.train("faster", "--steps 1 --device auto").output().unwrap() }.ok();
    assert_eq!(ran.report()["operations"]["cpu"], 0);
    let findings = sandbox.findings();
    assert_eq!(findings.len(), 2);
    for (finding, precision) in findings.iter().zip(["f32", "mixed"]) {
        assert!(finding["model"].as_str().unwrap().ends_with(precision), "{finding}");
        assert!(finding["outcome"] == "right" && finding["cosine"].as_f64().unwrap() > 0.999, "{finding}");
    }
}

#[test]
fn what_modest_phones_have_is_enough_for_the_same_bits() {
    let sandbox = Sandbox::new();
    let more = "--steps 4 --device gpu";
    for (out, limits) in [("roomy", None), ("least", Some("least"))] {
        let mut train = sandbox.train(out, more);
        let ran = Ran {
            output: train.envs(limits.map(|limits| ("NIGHTGRAFT_GPU_LIMITS", limits))).output().unwrap(),
        };
        let ran = ran.ok();
        assert_eq!(ran.report()["operations"]["cpu"], 0);
        // Each is a device by itself.
        assert_eq!(ran.about_devices()[0]["device_event"], "probing");
    }
    assert_eq!(sandbox.adapter("roomy"), sandbox.adapter("least"));
}

#[test]
fn stopped_killed_and_resumed_it_ends_in_the_same_bytes() {
    const KILLS: usize = 50;
    let sandbox = Sandbox::new();
    let more = "--steps 24 --device gpu";
    let began = Instant::now();
    assert!(sandbox.train("straight", more).stdout(Stdio::null()).status().unwrap().success());
    assert!(
        sandbox.train("warm", "--steps 1 --device gpu").stdout(Stdio::null()).status().unwrap().success()
    );
    let longest = began.elapsed() / 8;
    let mut random = nightgraft_random::Random::new(5);
    let mut kills = 0;
    while kills < KILLS {
        let mut child = sandbox.train("killed", more).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(longest.mul_f64(f64::from(random.unit())));
        if child.try_wait().unwrap().is_some() {
            // It came to its end: the next one begins anew.
            assert_eq!(sandbox.adapter("straight"), sandbox.adapter("killed"));
            fs::remove_dir_all(sandbox.path("killed")).unwrap();
            continue;
        }
        if kills % 5 == 0 {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        } else {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        kills += 1;
    }
    let ran = Ran { output: sandbox.train("killed", more).output().unwrap() }.ok();
    assert_eq!(sandbox.adapter("straight"), sandbox.adapter("killed"));
    assert_eq!(sandbox.losses("straight"), sandbox.losses("killed"), "each step is there once");
    assert_eq!(ran.report()["operations"]["cpu"], 0);
}

#[test]
fn a_device_that_fails_in_the_middle_loses_nothing() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("cpu", "--steps 9").stdout(Stdio::null()).status().unwrap().success());
    // Two micro-batches make a step.
    let faults = [
        ("lost:13", 6, "was lost"),
        ("memory:5", 2, "out of memory"),
        ("skip:8", 3, "did not run to its end"),
    ];
    for (fault, step, words) in faults {
        let out = fault.replace(':', "-");
        let ran = sandbox.train_with_fault(&out, fault, "--steps 9 --device gpu").ok();
        let told = ran.about_devices();
        let failed = told.last().unwrap();
        assert_eq!((&failed["device_event"], &failed["step"]), (&"failed".into(), &step.into()), "{fault}");
        assert!(failed["error"].as_str().unwrap().contains(words), "{failed}");
        let report = ran.report();
        assert_eq!(report["steps"], 9);
        let devices: Vec<_> =
            report["devices"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
        assert!(
            devices.len() == 2 && devices[0].ends_with(", f32") && devices[1].starts_with("cpu"),
            "{report}"
        );
        assert_eq!(report["device"], devices[1]);
        for by in ["cpu", "gpu"] {
            assert!(report["operations"][by].as_u64().unwrap() > 100, "{report}");
        }
        assert_same_curve(&sandbox.losses(&out), &sandbox.losses("cpu"));
    }
}

#[test]
fn a_device_that_is_wrong_or_ends_the_process_is_left_alone_until_it_is_to_be_tried_again() {
    let sandbox = Sandbox::new();
    let why = |ran: &Ran| ran.about_devices().last().unwrap().clone();
    let ran = sandbox.train_with_fault("wrong", "wrong", "--steps 2 --device gpu").ok();
    assert_eq!(why(&ran)["why"], "wrong");
    assert_eq!(
        (ran.report()["steps"].clone(), ran.report()["operations"]["gpu"].clone()),
        (2.into(), 0.into())
    );
    let ran = Ran { output: sandbox.train("again", "--steps 2 --device gpu").output().unwrap() }.ok();
    assert_eq!(why(&ran)["why"], "wrong", "it is remembered");
    assert_eq!(sandbox.findings()[0]["why"], "wrong");
    sandbox.run("devices --retry").ok();

    // When it is probed, and in the first step with it.
    for (out, fault) in [("probe", "abort"), ("step", "abort:1")] {
        let ran = sandbox.train_with_fault(out, fault, "--steps 2 --device gpu");
        assert!(ran.output.status.code().is_none(), "a signal has ended it");
        for _ in 0..2 {
            let ran = Ran { output: sandbox.train(out, "--steps 2 --device gpu").output().unwrap() }.ok();
            assert_eq!(why(&ran)["why"], "ended_the_process");
            assert_eq!(ran.report()["operations"]["gpu"], 0);
        }
        assert_eq!(sandbox.findings()[0]["why"], "ended_the_process");
        assert_eq!(sandbox.adapter(out), sandbox.adapter("wrong"), "both on the processor");
        sandbox.run("devices --retry").ok();
        assert!(sandbox.findings().is_empty());
    }
    let ran = Ran { output: sandbox.train("tried", "--steps 2 --device gpu").output().unwrap() }.ok();
    assert_eq!(why(&ran)["device_event"], "chosen");
}

#[test]
fn checkpoints_move_between_devices() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("cpu", "--steps 8").stdout(Stdio::null()).status().unwrap().success());
    for (first, then) in [("cpu", "gpu"), ("gpu", "cpu")] {
        let out = format!("{first}-{then}");
        let mut child = sandbox
            .train(&out, &format!("--steps 8 --device {first}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let metrics = sandbox.path(&out).join("metrics.jsonl");
        while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        let was_stopped = !child.wait().unwrap().success();
        let ran =
            Ran { output: sandbox.train(&out, &format!("--steps 8 --device {then}")).output().unwrap() }.ok();
        let report = ran.report();
        assert_eq!(report["steps"], 8);
        assert!(ran.about_devices().iter().any(|event| event["device_event"] == "changed"));
        assert_eq!(report["devices"].as_array().unwrap().len(), 1 + usize::from(was_stopped), "{report}");
        assert_same_curve(&sandbox.losses(&out), &sandbox.losses("cpu"));
    }
}

#[test]
fn every_command_that_computes_does_so_on_a_gpu() {
    let sandbox = Sandbox::new();
    assert!(sandbox.train("run", "--steps 2").stdout(Stdio::null()).status().unwrap().success());
    let on = |device: &str, command: &str| -> Value {
        let ran = sandbox.run(&format!("{command} --json --model tiny.gguf --device {device}")).ok();
        ran.report()
    };
    let near =
        |a: &Value, b: &Value| (a["loss"].as_f64().unwrap() / b["loss"].as_f64().unwrap() - 1.0).abs() < 1e-5;
    for command in [
        "eval --data notes.jsonl --adapter run/adapter",
        "gradients --data notes.jsonl --init-adapter run/adapter --out grads.safetensors",
    ] {
        let (cpu, gpu) = (on("cpu", command), on("gpu", command));
        assert!(near(&cpu, &gpu), "{command}: {cpu} {gpu}");
        assert!(gpu["device"].as_str().unwrap().contains("llvmpipe"), "{gpu}");
    }
    let logits = |device: &str| {
        on(device, &format!("eval --data notes.jsonl --logits {device}.safetensors"));
        fs::read(sandbox.path(&format!("{device}.safetensors"))).unwrap().len()
    };
    assert_eq!(logits("cpu"), logits("gpu"));
    let bench = on("gpu", "bench --seconds 1 --context 32 --profile");
    assert!(bench["gpu"]["submissions"].as_f64().unwrap() >= 1.0, "{bench}");
    assert!(bench["operations"].as_array().unwrap().iter().any(|op| op["name"] == "linear_transposed"));
    let plan = on("gpu", "plan --context 32");
    assert!(plan["gpu"]["weights"].as_u64().unwrap() > 500_000 && plan["gpu"]["is_shared"] == true, "{plan}");
    // Where a run would do without it, so does its plan.
    let on_cpu = on("cpu", "plan --context 32");
    let bytes = |plan: &Value, what: &str| plan[what].as_u64().unwrap();
    // The driver, which is in the process by then, is counted.
    let least = bytes(&plan, "process") + bytes(&on_cpu, "total") - bytes(&on_cpu, "process") + (1 << 20);
    let plan = on("gpu", &format!("plan --context 32 --memory {least}"));
    assert!(plan["gpu"].is_null() && plan["warnings"][0].as_str().unwrap().contains("is not used"), "{plan}");
}

#[test]
fn a_night_trains_and_judges_on_a_gpu() {
    let sandbox = Sandbox::new();
    sandbox.run("journal add --store store notes.jsonl").ok();
    let night = |device: &str, store: &str| {
        sandbox.run(&format!(
            "night --json --model tiny.gguf --store {store} --steps 3 --device {device} --rank 2 --threads 2"
        ))
    };
    let ran = night("gpu", "store").ok();
    let text = String::from_utf8_lossy(&ran.output.stdout).into_owned();
    assert!(text.contains("judged") && text.contains(r#""devices":["llvmpipe"#), "{text}");
    // One that is not there is no reason to lose a night.
    sandbox.run("journal add --store other notes.jsonl").ok();
    let ran = night("gpu:7", "other").ok();
    let text = String::from_utf8_lossy(&ran.output.stdout).into_owned();
    assert!(text.contains("there is no GPU 7") && text.contains("judged"), "{text}");
}

#[test]
fn a_device_that_cannot_be_had_is_named_with_what_to_do() {
    let sandbox = Sandbox::new();
    let refused = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success() && !sandbox.path("out").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused(&mut sandbox.train("out", "--device gpu:9"));
    assert!(text.contains("--device: there is no GPU 9; `nightgraft devices` lists"), "{text}");
    let text = refused(sandbox.train("out", "--device gpu").env_remove("NIGHTGRAFT_GPU"));
    assert!(text.contains("it computes on the CPU; allow software devices to use it"), "{text}");
    let text = refused(&mut sandbox.train("out", "--device tpu"));
    assert!(text.contains("'tpu' is none of auto, cpu, gpu, gpu:N"), "{text}");
    let text = refused(sandbox.train("out", "--device gpu").env("NIGHTGRAFT_GPU_FAULT", "gone"));
    assert!(text.contains("'gone' is none of lost:N"), "{text}");
    let text = refused(sandbox.train("out", "--device gpu").env("NIGHTGRAFT_GPU_LIMITS", "none"));
    assert!(text.contains("'none' is not known; it may be least"), "{text}");
    let mut allowed = sandbox.train("out", "--steps 1 --device gpu --allow-software");
    assert!(allowed.env_remove("NIGHTGRAFT_GPU").stdout(Stdio::null()).status().unwrap().success());
}
