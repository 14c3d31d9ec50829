//! A model in several files is as good as in one, by whichever of them it is given.

use std::fs;

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel, split};

use super::Sandbox;

const TRAIN: &str = "--rank 2 --targets attn_q --steps 2 --eval-every 0 --checkpoint-every 0";

/// A folder with `model.gguf`, and its three parts beside it.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    split(&sandbox.path("model.gguf"), 3);
    sandbox
}

fn part(number: usize) -> String {
    format!("model-{number:05}-of-00003.gguf")
}

#[test]
fn each_command_opens_it_by_any_part() {
    let sandbox = sandbox();
    let shown = sandbox.run("inspect model.gguf --json").ok().json();
    assert_eq!(shown["files"], 1);
    let loss = |model: &str| {
        let ran = sandbox.run(&format!("eval --model {model} --data chats.jsonl --json")).ok();
        ran.json()["loss"].clone()
    };
    let answer = |model: &str| {
        let prompt = "--prompt The --max-tokens 8 --temperature 0";
        sandbox.run(&format!("generate --model {model} {prompt} --quiet")).ok().out
    };
    let (loss_of_whole, answer_of_whole) = (loss("model.gguf"), answer("model.gguf"));
    for model in [1, 2, 3].map(part) {
        let of_part = sandbox.run(&format!("inspect {model} --json")).ok().json();
        assert_eq!(of_part["files"], 3);
        for same in ["parameters", "tensors", "n_layer", "architecture", "not_trainable"] {
            assert_eq!(of_part[same], shown[same], "{same}");
        }
        assert_eq!(loss(&model), loss_of_whole);
        assert_eq!(answer(&model), answer_of_whole);
    }
}

#[test]
fn it_is_trained_and_merged() {
    let sandbox = sandbox();
    let train = |model: &str, out: &str| {
        let files = format!("--model {model} --data chats.jsonl --out {out}");
        sandbox.run(&format!("train {files} {TRAIN} --threads 2")).ok();
        sandbox.path(&format!("{out}/adapter/adapter_model.safetensors"))
    };
    let tensors = |path| {
        let bytes = fs::read(path).unwrap();
        // The header names the base; the tensors come behind it.
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[header..].to_vec()
    };
    let whole = tensors(train("model.gguf", "whole"));
    assert!(tensors(train(&part(2), "split")) == whole, "the same bits");

    let merge = |model: &str, out: &str| {
        let files = format!("--model {model} --adapter split/adapter --out {out}");
        sandbox.run(&format!("export --to merged-gguf {files}")).ok();
        fs::read(sandbox.path(out)).unwrap()
    };
    let merged = merge(&part(3), "merged.gguf");
    assert!(merged == merge("model.gguf", "merged-whole.gguf"), "one file, without keys about the split");
    assert_eq!(sandbox.run("inspect merged.gguf --json").ok().json()["files"], 1);
    let no_merged = sandbox.run(&format!(
        "export --to merged-gguf --model {} --adapter split/adapter --out {}",
        part(1),
        part(2)
    ));
    no_merged.refuses(2, &[&part(2)]);
}

#[test]
fn a_run_goes_on_with_any_part_and_with_no_other_bytes() {
    let sandbox = Sandbox::new();
    // Larger than what of it is in a fingerprint.
    let model = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::F32) };
    model.write(&sandbox.path("model.gguf")).unwrap();
    split(&sandbox.path("model.gguf"), 3);
    let train = |model: &str, steps: usize| {
        let settings = "--rank 2 --targets attn_q --eval-every 0 --checkpoint-every 1 --threads 2";
        sandbox.run(&format!("train --model {model} --data chats.jsonl --out out --steps {steps} {settings}"))
    };
    train(&part(1), 2).ok();
    train(&part(3), 2).ok();
    // A byte of the last part that no sample of the fingerprint has.
    let path = sandbox.path(&part(3));
    let bytes = fs::read(&path).unwrap();
    let fingerprint =
        || sandbox.run(&format!("inspect {} --json", part(1))).ok().json()["fingerprint"].clone();
    let before = fingerprint();
    let is_unseen = (bytes.len() / 2..bytes.len()).step_by(997).any(|at| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        fingerprint() == before
    });
    assert!(is_unseen);
    train(&part(1), 2).refuses(1, &["is not what it was"]);
}
