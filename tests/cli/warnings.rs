//! What does nothing, and what was left out, is told.

use std::fs;

use nightgraft_ggml::weight_types;
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};

use super::{RunOutput, Sandbox};

/// Another tiny model.
fn model(sandbox: &Sandbox, name: &str, kind: WeightType, template: &str) {
    let model = TinyModel { chat_template: Some(template.to_owned()), ..TinyModel::new(kind) };
    model.write(&sandbox.path(name)).unwrap();
}

impl RunOutput {
    /// The warnings, each once.
    fn warnings(&self) -> Vec<&str> {
        self.err.lines().filter_map(|line| line.strip_prefix("warning: ")).collect()
    }
}

#[test]
fn an_adapter_to_start_from_keeps_its_shape_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.train("--out first --steps 1 --held-out 0 --rank 4 --targets attn_q,attn_v").ok();
    let again = "--steps 1 --held-out 0 --init-adapter first/adapter";
    for (option, own) in [
        ("--rank 8", "rank"),
        ("--alpha 64", "alpha"),
        ("--targets all", "targets"),
        ("--layers last:1", "layers"),
    ] {
        let name = option.split_whitespace().next().unwrap();
        sandbox.train(&format!("--out second {again} {option}")).refuses(2, &[name, "would do nothing", own]);
    }
    assert!(!sandbox.path("second").exists());
    sandbox
        .train(&format!("--out same {again} --rank 4 --alpha 16 --targets attn_v,attn_q --layers 0..2"))
        .ok();
    assert_eq!(sandbox.train(&format!("--out plain {again}")).ok().warnings(), [""; 0]);
    fs::write(sandbox.path("a.toml"), "rank = 16\n").unwrap();
    let told = sandbox.train(&format!("--out file {again} --config a.toml")).ok();
    assert!(told.warnings()[0].contains("--rank is 4, not 16"), "{}", told.err);
}

#[test]
fn a_context_beyond_the_model_is_told() {
    let sandbox = Sandbox::new();
    let train = sandbox.train("--out out --steps 1 --context 2000").ok();
    assert!(train.warnings()[0].contains("--context 2000 is more than the 512 tokens"), "{}", train.err);
    let eval = "eval --model model.gguf --data chats.jsonl --context 2000";
    assert!(sandbox.run(eval).ok().warnings()[0].contains("--context 2000 is more than the 512 tokens"));
    let json = sandbox.run(&format!("{eval} --json")).ok().json();
    assert!(json["warnings"][0].as_str().unwrap().contains("512"), "{json}");
    assert_eq!(
        sandbox.run("eval --model model.gguf --data chats.jsonl --context 512").ok().warnings(),
        [""; 0]
    );
    for command in ["plan --model model.gguf", "bench --model model.gguf --seconds 1"] {
        let command = format!("{command} --context 600");
        let told = sandbox.run(&command).ok();
        assert!(told.warnings()[0].contains("--context 600 is more than the 512 tokens"), "{}", told.err);
        let json = sandbox.run(&format!("{command} --json")).ok().json();
        assert!(json["warnings"][0].as_str().unwrap().contains("512"), "{json}");
    }
    assert_eq!(sandbox.run("plan --model model.gguf --context 512").ok().warnings(), [""; 0]);
}

const UNUSED_CHAT: &str =
    "--chat does nothing: no line of the data has a prompt and a completion that are texts";
const UNUSED_DATE: &str = "--date does nothing to this data: the chat template never asks for the date";

#[test]
fn options_that_the_data_has_no_use_for_are_told() {
    let sandbox = Sandbox::new();
    let texts = (0..40).map(|i| format!("{{\"text\": \"the heron waits {i}\"}}\n")).collect::<String>();
    fs::write(sandbox.path("texts.jsonl"), texts).unwrap();
    let pairs = (0..40).map(|i| format!("{{\"prompt\": \"a {i}\", \"completion\": \"b {i}\"}}\n"));
    fs::write(sandbox.path("pairs.jsonl"), pairs.collect::<String>()).unwrap();
    let unused = "--chat --date 2026-01-02";
    sandbox.train("--out start --steps 1 --held-out 0").ok();
    for command in [
        "eval --model model.gguf",
        "gradients --model model.gguf --init-adapter start/adapter --out g.safetensors",
        "train --model model.gguf --steps 1 --checkpoint-every 0 --resume never --out out",
    ] {
        let told = sandbox.run(&format!("{command} --data texts.jsonl {unused}")).ok();
        assert_eq!(told.warnings(), [UNUSED_CHAT, UNUSED_DATE], "{command}");
        let json = sandbox.run(&format!("{command} --data texts.jsonl {unused} --json")).ok();
        assert!(json.out.contains(UNUSED_CHAT) && json.out.contains(UNUSED_DATE), "{command}: {}", json.out);
        let told = sandbox.run(&format!("{command} --data pairs.jsonl --chat")).ok();
        assert_eq!(told.warnings(), [""; 0], "{command}");
    }
    // A run's settings name a date for whoever measures with them.
    let told =
        sandbox.run("eval --model model.gguf --data texts.jsonl --config out/config.toml --no-chat").ok();
    assert_eq!(told.warnings(), [""; 0]);

    let night = "night --model model.gguf --store mine --steps 1";
    let told = sandbox
        .run(&format!("{night} --data texts.jsonl {unused} --resume never --eval-every 0 --patience 2"));
    let expected = [
        "--resume does nothing: a session that is under way goes on; --start-anew forgets one that cannot",
        "--patience does nothing: --eval-every 0 switches evaluation off",
        UNUSED_CHAT,
        UNUSED_DATE,
    ];
    assert_eq!(told.ok().warnings(), expected);
    let told = sandbox.run(&format!("{night} --skip-bad --format text")).ok();
    let unused: Vec<_> =
        told.warnings().iter().filter_map(|text| text.split_once(" does")).map(|it| it.0).collect();
    assert_eq!(unused, ["--skip-bad", "--format"], "{}", told.err);
    let told = sandbox.run("retrain-without 1 --model model.gguf --store mine --steps 1 --resume auto").ok();
    assert!(told.warnings()[0].starts_with("--resume does nothing"), "{}", told.err);
}

/// Only where the template never asks.
#[test]
fn a_date_that_is_used_is_not_told() {
    let sandbox = Sandbox::new();
    model(&sandbox, "dated.gguf", WeightType::Q4_1, &format!("{{{{ strftime_now('%Y') }}}}{CHATML}"));
    let told = sandbox.run("eval --model dated.gguf --data chats.jsonl --date 2026-01-02").ok();
    assert_eq!(told.warnings(), [""; 0]);
}

#[test]
fn options_that_do_nothing_are_told() {
    let sandbox = Sandbox::new();
    let ran = sandbox.train("--out out --steps 1 --held-out 0 --patience 2 -q").ok();
    assert_eq!(ran.warnings(), ["--patience does nothing: no examples are held out"]);
    let ran = sandbox.run("generate --model model.gguf --prompt a --max-tokens 1 --seed 7").ok();
    assert_eq!(ran.warnings(), ["--seed does nothing: at --temperature 0 nothing is drawn"]);
}

/// A schedule spans all steps, so that a longer run is another one; the way to learn on is named, and works.
#[test]
fn a_finished_run_can_be_trained_on() {
    let sandbox = Sandbox::new();
    let train = "train --model model.gguf --data chats.jsonl --held-out 0 --out out";
    sandbox.run(&format!("{train} --steps 2")).ok();
    let refused = sandbox.run(&format!("{train} --steps 4"));
    refused.refuses(
        1,
        &["steps = 2", "steps = 4", "To keep what it learned", "--init-adapter out/adapter --out"],
    );
    sandbox
        .run("train --model model.gguf --data chats.jsonl --held-out 0 --out elsewhere --init-adapter out/adapter --steps 2")
        .ok();
}

#[test]
fn what_was_left_out_is_told_wherever_data_is_read() {
    let sandbox = Sandbox::new();
    let bad = "{\"no\": 1}\n";
    fs::write(sandbox.path("bad.jsonl"), format!("{bad}{bad}{}{bad}", "{\"text\": \"one two three\"}\n"))
        .unwrap();
    let long = serde_json::json!({ "prompt": "Tell me.", "completion": "and so on ".repeat(400) });
    fs::write(sandbox.path("long.jsonl"), format!("{long}\n")).unwrap();

    let eval = "eval --model model.gguf --data bad.jsonl --skip-bad";
    assert_eq!(sandbox.run(eval).ok().warnings(), ["3 of 4 lines could not be used and were left out"]);
    let json = sandbox.run(&format!("{eval} --json")).ok().json();
    assert_eq!((&json["data"]["lines"], &json["data"]["skipped_lines"]), (&4.into(), &3.into()));
    let ran = sandbox.run("train --model model.gguf --data bad.jsonl --skip-bad --out out --steps 1 -q").ok();
    assert_eq!(ran.warnings(), ["3 of 4 lines could not be used and were left out"]);
    let ran = sandbox.run("journal add bad.jsonl --skip-bad --store mine").ok();
    assert_eq!(ran.warnings(), ["3 of 4 lines could not be used and were left out"]);

    let eval = "eval --model model.gguf --data long.jsonl";
    let told = sandbox.run(eval).ok();
    assert!(told.warnings()[0].starts_with("1 line is longer than --context: "), "{}", told.err);
    let json = sandbox.run(&format!("{eval} --json")).ok().json();
    assert!(json["data"]["truncated_tokens"].as_u64().unwrap() > 1000, "{json}");

    sandbox.run("train --model model.gguf --data chats.jsonl --out start --steps 1 --held-out 0").ok();
    let gradients = "gradients --model model.gguf --init-adapter start/adapter --data bad.jsonl --skip-bad \
                     --context 2000 --out g.safetensors";
    let told = sandbox.run(gradients).ok();
    assert_eq!(told.warnings()[0], "3 of 4 lines could not be used and were left out");
    assert!(told.warnings()[1].contains("--context 2000 is more than the 512 tokens"), "{}", told.err);
    let json = sandbox.run(&format!("{gradients} --json")).ok().json();
    assert_eq!((&json["data"]["lines"], &json["data"]["skipped_lines"]), (&4.into(), &3.into()));
    assert!(json["warnings"][0].as_str().unwrap().contains("512"), "{json}");
}

/// A model without a template can use none of the conversations: one sentence, not one for each.
#[test]
fn a_warning_is_said_once_with_a_count() {
    let sandbox = Sandbox::new();
    TinyModel::new(WeightType::Q4_1).write(&sandbox.path("plain.gguf")).unwrap();
    let texts = (0..40).map(|i| format!("{{\"text\": \"the heron waits {i}\"}}\n")).collect::<String>();
    fs::write(sandbox.path("mixed.jsonl"), super::chats() + &texts).unwrap();
    let ran = sandbox.run("night --model plain.gguf --store mine --data mixed.jsonl --steps 1");
    let told = ran.warnings();
    let [about] = told.as_slice() else { panic!("{}", ran.err) };
    assert!(about.contains("examples cannot be used with this model; the first: "), "{about}");
    assert!(about.contains("no chat template") && !ran.err.contains("WARN"), "{}", ran.err);
}

/// An adapter that says that it is another model's.
#[test]
fn another_model_s_adapter_is_a_warning_like_others() {
    let sandbox = Sandbox::new();
    sandbox.train("--out out --steps 1 --held-out 0").ok();
    model(&sandbox, "other.gguf", WeightType::Q8_0, CHATML);
    let adapter = "--model other.gguf --adapter out/adapter";
    for command in [
        format!("eval {adapter} --data chats.jsonl"),
        format!("generate {adapter} --prompt a --max-tokens 1"),
        format!("export {adapter} --to gguf --out a.gguf"),
        "gradients --model other.gguf --init-adapter out/adapter --data chats.jsonl --out g.safetensors".to_owned(),
        "train --model other.gguf --init-adapter out/adapter --data chats.jsonl --out on --steps 1 --held-out 0"
            .to_owned(),
    ] {
        let ran = sandbox.run(&command).ok();
        let told = ran.warnings();
        assert!(told.len() == 1 && told[0].starts_with("the adapter may do harm: "), "{command}: {}", ran.err);
        assert!(!ran.err.contains("WARN"), "{command}: {}", ran.err);
        let json = sandbox.run(&format!("{command} --json")).ok();
        assert!(json.out.contains("the adapter may do harm: "), "{command}: {}", json.out);
    }
}

#[test]
fn formats_without_kernels_are_told_once() {
    let sandbox = Sandbox::new();
    let kind = weight_types().find(|kind| kind.name() == "IQ2_XS").unwrap();
    model(&sandbox, "slow.gguf", kind, CHATML);
    let told = "the model has weights in IQ2_XS, for which there are no fast kernels";
    for command in [
        "train --data chats.jsonl --out out --rank 2 --targets attn_q --steps 2 --eval-every 0 --checkpoint-every 0",
        "eval --data chats.jsonl",
        "plan",
    ] {
        let ran = sandbox.run(&format!("{command} --model slow.gguf")).ok();
        assert_eq!(ran.err.matches(told).count(), 1, "{command}: {}", ran.err);
        let ran = sandbox.run(&format!("{command} --model model.gguf").replace("out out", "out fast")).ok();
        assert!(!ran.err.contains("kernels"), "{command}: {}", ran.err);
    }
    let shown = sandbox.run("inspect slow.gguf").ok().out;
    assert!(shown.contains("IQ2_XS (slow)"), "{shown}");
    let shown = sandbox.run("inspect slow.gguf --json").ok().json();
    let slow = |group: &serde_json::Value| (group["format"].clone(), group["slow"].clone());
    let groups: Vec<_> = shown["tensors"].as_array().unwrap().iter().map(slow).collect();
    assert_eq!(groups, [("F32".into(), false.into()), ("IQ2_XS".into(), true.into())]);

    // What the adapter changes cannot be packed as before; the rest is copied.
    let merge = "export --to merged-gguf --model slow.gguf --adapter out/adapter --out merged.gguf";
    let merged = sandbox.run(merge).ok();
    assert!(merged.err.contains("stored in larger formats (IQ2_XS as Q2_K)"), "{}", merged.err);
    let shown = sandbox.run("inspect merged.gguf").ok().out;
    assert!(shown.contains("Q2_K") && shown.contains("IQ2_XS"), "{shown}");
}
