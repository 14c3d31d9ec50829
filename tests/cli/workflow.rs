//! The main job through the binary: train, measure, ask, convert; stop and go on.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use super::{RunOutput, Sandbox, files, keys};

const METRICS: [&str; 9] = [
    "step",
    "loss",
    "tokens",
    "supervised_tokens",
    "lr",
    "grad_norm",
    "seconds",
    "tokens_per_second",
    "rss_bytes",
];

#[test]
fn training_leaves_the_promised_files_and_helps() {
    let sandbox = Sandbox::new();
    let before = sandbox.run("eval --model model.gguf --data chats.jsonl --json").ok().json();
    assert_eq!(
        keys(&before),
        ["loss", "perplexity", "accuracy", "supervised_tokens", "data", "device", "warnings"]
    );

    let ran = sandbox.train("--out out --epochs 3 --lr 1e-2 --batch-tokens 128 --context 64 --rank 4").ok();
    for promise in ["held-out perplexity", "out/adapter (PEFT), out/adapter.gguf (llama.cpp)", "out/loss.svg"]
    {
        assert!(ran.out.contains(promise), "{promise:?} in {}", ran.out);
    }
    assert!(
        ran.err.contains("model: tiny") && ran.err.contains("step 0: held-out perplexity"),
        "{}",
        ran.err
    );

    let left = files(&sandbox.path("out"));
    for name in ["adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter.gguf"] {
        assert!(left.iter().any(|file| file == name), "{name} in {left:?}");
    }
    let metrics = fs::read_to_string(sandbox.path("out/metrics.jsonl")).unwrap();
    for (index, line) in metrics.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(keys(&line), METRICS);
        assert_eq!(line["step"], index + 1);
    }
    let config = fs::read_to_string(sandbox.path("out/config.toml")).unwrap();
    assert!(config.contains("rank = 4\n") && config.contains("lr = 0.01\n"), "{config}");
    assert!(fs::read_to_string(sandbox.path("out/loss.svg")).unwrap().starts_with("<svg"));

    for adapter in ["out/adapter", "out/adapter.gguf"] {
        let after =
            sandbox.run(&format!("eval --model model.gguf --data chats.jsonl --adapter {adapter} --json"));
        let after = after.ok().json();
        let (before, after) = (before["loss"].as_f64().unwrap(), after["loss"].as_f64().unwrap());
        assert!(after < 0.9 * before, "{adapter}: {before} {after}");
    }
}

#[test]
fn logits_are_written_beside_the_same_result() {
    let sandbox = Sandbox::new();
    let eval = "eval --model model.gguf --data chats.jsonl --json";
    let bare = sandbox.run(eval).ok();
    assert_eq!(sandbox.run(&format!("{eval} --logits l.safetensors")).ok().out, bare.out);
    let bytes = fs::read(sandbox.path("l.safetensors")).unwrap();
    let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + n_header]).unwrap();
    assert_eq!(keys(&header), ["ids", "lengths", "places", "targets", "logits"]);
    assert_eq!(header["lengths"]["shape"][0], 24);
    assert_eq!(header["logits"]["shape"][0], bare.json()["supervised_tokens"]);
    assert_eq!(header["logits"]["data_offsets"][1], bytes.len() - 8 - n_header);

    let refused = sandbox.run(&format!("{eval} --logits missing/l.safetensors"));
    refused.refuses(1, &["cannot write missing/l.safetensors", "No such file"]);
}

#[test]
fn json_is_one_object_an_event_and_nothing_else() {
    let sandbox = Sandbox::new();
    let ran = sandbox.train("--out out --steps 3 --eval-every 2 --checkpoint-every 2 --json").ok();
    assert_eq!(ran.err, "");
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["model", "data", "planned"]);
    assert_eq!(names.iter().filter(|name| **name == "step").count(), 3);
    assert!(names.contains(&"evaluated") && names.contains(&"saved"), "{names:?}");
    let done = events.last().unwrap();
    assert_eq!(
        (names[names.len() - 1], &done["outcome"], &done["steps"]),
        ("done", &"finished".into(), &3.into())
    );
    let step = events.iter().find(|event| event["event"] == "step").unwrap();
    assert_eq!(keys(step)[1..], METRICS);
}

#[test]
fn quiet_says_only_the_result() {
    let sandbox = Sandbox::new();
    let ran = sandbox.train("--out out --steps 2 -q").ok();
    assert_eq!(ran.err, "");
    assert!(ran.out.starts_with("steps"), "{}", ran.out);
}

#[test]
fn what_is_left_open_is_decided_and_noted() {
    let sandbox = Sandbox::new();
    sandbox.train("--out out --steps 1 --context 1024").ok();
    let config = fs::read_to_string(sandbox.path("out/config.toml")).unwrap();
    for line in ["lr = 0.00051\n", "context = 1024\nbatch_tokens = 111\n", "epochs = 3\nsteps = 1\n"] {
        assert!(config.contains(line), "{config}");
    }
    sandbox.train("--out again --steps 1 --config out/config.toml --context 2048 --lr auto").ok();
    sandbox.run("eval --model model.gguf --data chats.jsonl --context 1024").ok();
}

#[test]
fn options_override_the_file() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("a.toml"), "rank = 2\nsteps = 50\ntargets = \"attn\"\nheld_out = 0.0\n").unwrap();
    sandbox.train("--out out --config a.toml --steps 1 --rank 3").ok();
    let config = fs::read_to_string(sandbox.path("out/config.toml")).unwrap();
    for line in ["rank = 3\n", "steps = 1\n", "targets = \"attn\"\n", "alpha = 16.0\n"] {
        assert!(config.contains(line), "{line} in {config}");
    }
    // What was written is a configuration again.
    sandbox.train("--out again --config out/config.toml").ok();
    assert_eq!(fs::read_to_string(sandbox.path("again/config.toml")).unwrap(), config);
}

/// Enough steps for a signal to arrive long before the last, whatever else the machine does.
const LONG: &str =
    "--steps 400 --lr 1e-3 --batch-tokens 128 --context 64 --eval-every 150 --checkpoint-every 20";

/// Straight, and stopped by Ctrl-C or killed at once, and gone on: the same adapter, byte for byte.
#[test]
fn a_run_that_was_stopped_or_killed_goes_on_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    sandbox.train(&format!("--out straight {LONG}")).ok();

    let (code, rest, message) = signalled(&sandbox, "stopped", "-INT");
    assert_eq!(code, Some(130), "{message}");
    assert!(
        message.contains("the checkpoint is in stopped/checkpoints; the same command goes on"),
        "{message}"
    );
    let done: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!((&done["event"], &done["outcome"]), (&"done".into(), &"interrupted".into()));
    let (code, ..) = signalled(&sandbox, "killed", "-KILL");
    assert_eq!(code, None);

    for run in ["stopped", "killed"] {
        assert!(!sandbox.path(run).join("adapter").exists(), "an interrupted run has no result yet");
        let resumed = sandbox.train(&format!("--out {run} --json {LONG}")).ok();
        assert!(resumed.out.contains("\"event\":\"resumed\""), "{}", resumed.out);
        for file in ["adapter/adapter_model.safetensors", "adapter.gguf"] {
            let bytes = |run: &str| fs::read(sandbox.path(run).join(file)).unwrap();
            assert!(bytes("straight") == bytes(run), "{run}: {file} differs");
        }
        let lines = fs::read_to_string(sandbox.path(run).join("metrics.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 400, "each step once");
    }
}

/// Starts the long run, sends the signal after the first checkpoint, and waits. Returns the exit code, the lines after
/// that step, and what was said.
fn signalled(sandbox: &Sandbox, out: &str, signal: &str) -> (Option<i32>, Vec<String>, String) {
    let command =
        format!("train --model model.gguf --data chats.jsonl --threads 2 --out {out} --json {LONG}");
    let args: Vec<_> = command.split_whitespace().collect();
    let mut child = sandbox.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stepped = |line: &str| line.contains("\"event\":\"step\"") && line.contains("\"step\":23,");
    assert!(lines.by_ref().any(|line| stepped(&line.unwrap())), "so many steps are made");
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let rest = lines.map_while(Result::ok).collect();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), rest, String::from_utf8(output.stderr).unwrap())
}

/// A terminal that is closed, or a connection that is lost, ends a run as Ctrl-C does.
#[test]
fn a_closed_terminal_saves_the_run() {
    let sandbox = Sandbox::new();
    let (code, rest, message) = signalled(&sandbox, "out", "-HUP");
    assert_eq!(code, Some(130), "{message}");
    let done: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!((&done["event"], &done["outcome"]), (&"done".into(), &"interrupted".into()));
    let resumed = sandbox.train(&format!("--out out --json {LONG}")).ok();
    assert!(resumed.out.contains("\"event\":\"resumed\""), "{}", resumed.out);
}

/// `nohup` ignores SIGHUP, and so must we: the terminal goes, the night's run stays.
#[test]
fn a_run_outlives_its_terminal() {
    let sandbox = Sandbox::new();
    let mut nohup = Command::new("nohup");
    let command = "train --model model.gguf --data chats.jsonl --out out --steps 30 --json";
    nohup.arg(cargo_bin("nightgraft")).args(command.split_whitespace()).current_dir(sandbox.path(""));
    let mut child = nohup.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().contains("\"event\":\"step\"")));
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    let last: Value = serde_json::from_str(&lines.last().unwrap().unwrap()).unwrap();
    assert_eq!(last["event"], "done");
    assert_ne!(last["outcome"], "interrupted");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_stops_the_training() {
    let sandbox = Sandbox::new();
    let command = "train --model model.gguf --data chats.jsonl --out out --steps 5000 --json --held-out 0";
    let args: Vec<_> = command.split_whitespace().collect();
    let mut child = sandbox.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().contains("\"event\":\"step\"")));
    drop(lines);
    let ran = RunOutput::from(child.wait_with_output().unwrap());
    ran.refuses(1, &["standard output was closed", "the checkpoint is in out/checkpoints"]);
}

#[test]
fn answers_are_streamed_and_an_adapter_changes_them() {
    let sandbox = Sandbox::new();
    sandbox.train("--out out --steps 8 --lr 2e-2 --batch-tokens 128 --context 64 --held-out 0").ok();
    let ask = "generate --model model.gguf --chat --max-tokens 12 --prompt hello";
    let base = sandbox.run(ask).ok();
    let adapted = sandbox.run(&format!("{ask} --adapter out/adapter")).ok();
    assert!(base.out.ends_with('\n') && base.out != adapted.out, "{:?} {:?}", base.out, adapted.out);
    let again = sandbox.run(&format!("{ask} --adapter out/adapter.gguf --json")).ok().json();
    assert_eq!(keys(&again), ["text", "tokens", "prompt_tokens", "seconds", "warnings"]);
    assert_eq!(again["text"].as_str().unwrap().trim_end_matches('\n'), adapted.out.trim_end_matches('\n'));
}

#[test]
fn adapters_are_converted_and_merged() {
    let sandbox = Sandbox::new();
    sandbox.train("--out out --steps 4 --lr 1e-2 --held-out 0").ok();
    let export = |to: &str, out: &str| {
        sandbox.run(&format!("export --adapter out/adapter --to {to} --model model.gguf --out {out}")).ok()
    };
    assert!(export("gguf", "a.gguf").out.starts_with("a.gguf  ("));
    assert!(same(&sandbox.path("a.gguf"), &sandbox.path("out/adapter.gguf")), "the one that train wrote");
    export("peft", "peft");
    assert!(sandbox.path("peft/adapter_model.safetensors").is_file());

    let merged = export("merged-gguf", "merged.gguf");
    for fragment in
        ["loss on a short text", "rounding against training", "rounded to the model's few bits again"]
    {
        assert!(merged.out.contains(fragment), "{fragment:?} in {}", merged.out);
    }
    let loss = |model: &str, more: &str| {
        let ran = sandbox.run(&format!("eval --model {model} --data chats.jsonl --json {more}")).ok();
        ran.json()["loss"].as_f64().unwrap()
    };
    let (base, beside) = (loss("model.gguf", ""), loss("model.gguf", "--adapter out/adapter"));
    let merged = loss("merged.gguf", "");
    assert!(beside < base, "{beside} {base}");
    assert!((merged - beside).abs() < 0.5 * (base - beside), "{merged} {beside} {base}");
}

fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

#[test]
fn gradients_are_written_with_their_names() {
    let sandbox = Sandbox::new();
    sandbox.train("--out out --steps 1 --rank 2 --held-out 0").ok();
    let command =
        "gradients --model model.gguf --init-adapter out/adapter --data chats.jsonl --out g.safetensors";
    let report = sandbox.run(&format!("{command} --json")).ok().json();
    assert_eq!(
        keys(&report),
        ["loss", "supervised_tokens", "examples", "tensors", "device", "operations", "data", "warnings"]
    );
    assert_eq!(report["tensors"], 2 * 7 * 2, "A and B of seven modules in two layers");
    let bytes = fs::read(sandbox.path("g.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight";
    assert_eq!(tensors.tensor(name).unwrap().shape(), [2, 512]);
    assert!(sandbox.run(command).ok().out.starts_with("loss"));
}

#[test]
fn a_model_is_shown_and_its_tokens_too() {
    let sandbox = Sandbox::new();
    let shown = sandbox.run("inspect model.gguf --json").ok().json();
    assert_eq!((&shown["architecture"], &shown["n_layer"]), (&"llama".into(), &2.into()));
    assert_eq!((&shown["chat_template"], &shown["not_trainable"]), (&true.into(), &Value::Null));
    let text = sandbox.run("inspect --model model.gguf").ok().out;
    let kind = text.lines().find(|line| line.starts_with("Q4_1")).unwrap();
    assert_eq!(kind.split_whitespace().nth(1), Some("15"), "seven matrices in two layers, and the embedding");
    assert!(text.contains("can be trained  "), "{text}");
    // Rank 8 on both layers; the queries' matrix is 256 by 256.
    let words = |name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(words("attn_q"), ["2", "256", "256", "8.2", "k", "32.8", "kB"]);
    assert_eq!(words("all").first().map(String::as_str), Some("65.5"), "{text}");
    assert_eq!(shown["adaptable"][0]["parameters_per_rank"], 2 * (256 + 256));

    let output =
        sandbox.command(&["tokenize", "--model", "model.gguf", "hi there", "--json"]).output().unwrap();
    let pieces: Value = serde_json::from_slice(&output.stdout).unwrap();
    let joined: String =
        pieces.as_array().unwrap().iter().map(|piece| piece["text"].as_str().unwrap()).collect();
    assert_eq!(joined, "hi there");
}

#[test]
fn a_benchmark_tells_speed_memory_and_where_the_time_goes() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .run("bench --model model.gguf --context 64 --batch-tokens 128 --seconds 1 --profile --json")
        .ok();
    let report = ran.json();
    assert_eq!((&report["context"], &report["step_tokens"]), (&64.into(), &128.into()));
    for number in
        ["steps", "tokens_per_second", "tokens_per_cpu_second", "gflops", "gemm_gflops", "anonymous_bytes"]
    {
        assert!(report[number].as_f64().unwrap() > 0.0, "{number}: {report}");
    }
    let operations = report["operations"].as_array().unwrap();
    let named = |name: &str| operations.iter().find(|operation| operation["name"] == name);
    // Two examples are one micro-batch, and every layer has its attention.
    assert_eq!(named("attention").unwrap()["calls"], 2.0, "{report}");
    assert!(named("everything else").is_some() && operations.len() > 10, "{report}");

    let shown = sandbox.run("bench --model model.gguf --context 64 --seconds 1 --precision f32").ok();
    for promise in ["tokens/s", "GFLOP/s", "the mapped model not counted", "tokens in 8 hours"] {
        assert!(shown.out.contains(promise), "{promise:?} in {}", shown.out);
    }
    assert!(shown.err.contains("step 1: "), "{}", shown.err);
    sandbox.run("bench --model model.gguf --context 0").refuses(2, &["context"]);
    sandbox.run("bench --model none.gguf").refuses(1, &["none.gguf"]);
}

#[test]
fn a_budget_is_planned_with_and_an_impossible_one_refused() {
    let sandbox = Sandbox::new();
    let plan = |options: &str| -> serde_json::Value {
        let ran = sandbox.run(&format!("plan --model model.gguf --context 64 --json {options}")).ok();
        serde_json::from_str(&ran.out).unwrap()
    };
    let whole = plan("");
    assert_eq!(whole["keep_feed_forward"], whole["layers"]);
    let parts =
        ["process", "adapter", "optimizer", "copies", "scratch"].map(|part| whole[part].as_u64().unwrap());
    let model = whole["model"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap());
    assert_eq!(whole["total"].as_u64().unwrap(), parts.into_iter().chain(model).sum::<u64>());

    sandbox
        .train("--out out --steps 1 --memory 1MiB")
        .refuses(1, &["of memory are needed and 1048576 may be taken"]);
    assert!(!sandbox.path("out").exists(), "nothing is written for a run that cannot start");
}
