//! Adapters that people bring: of another method, or for another model.

use std::fs;

use nightgraft_core::session::Chat;
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};

use super::Sandbox;

const TRAIN: &str = "--rank 2 --targets attn_q --steps 2 --eval-every 0 --checkpoint-every 0";

#[test]
fn an_adapter_that_changed_its_base_is_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.train(&format!("--out out {TRAIN}")).ok();
    let config = sandbox.path("out/adapter/adapter_config.json");
    let text = fs::read_to_string(&config).unwrap();
    let pissa = text.replace(r#""init_lora_weights": true"#, r#""init_lora_weights": "pissa""#);
    assert_ne!(pissa, text);
    fs::write(config, pissa).unwrap();
    for command in [
        "eval --model model.gguf --data chats.jsonl --adapter out/adapter",
        "generate --model model.gguf --prompt The --adapter out/adapter",
        "export --model model.gguf --adapter out/adapter --to gguf --out a.gguf",
    ] {
        sandbox.run(command).refuses(1, &["init_lora_weights is \"pissa\"", "changed the base"]);
    }
    assert!(!sandbox.path("a.gguf").exists());
}

#[test]
fn an_adapter_of_another_model_is_told_once_and_refused_by_apps() {
    let sandbox = Sandbox::new();
    let chat_template = Some(CHATML.to_owned());
    let other = TinyModel { chat_template, seed: 2, ..TinyModel::new(WeightType::Q4_1) };
    other.write(&sandbox.path("other.gguf")).unwrap();
    sandbox.train(&format!("--out out {TRAIN}")).ok();
    let told = "trained on another model";
    for adapter in ["out/adapter", "out/adapter.gguf"] {
        for command in [
            "eval --data chats.jsonl --adapter",
            "generate --prompt The --max-tokens 2 --adapter",
            "export --to gguf --out a.gguf --adapter",
            &format!("train --data chats.jsonl --out again {TRAIN} --resume never --init-adapter"),
        ] {
            let ran = sandbox.run(&format!("{command} {adapter} --model other.gguf")).ok();
            assert_eq!(ran.err.matches(told).count(), 1, "{command}: {}", ran.err);
            let ran = sandbox.run(&format!("{command} {adapter} --model model.gguf")).ok();
            assert!(!ran.err.contains(told), "{command}: {}", ran.err);
        }
        let mut chat = Chat::open(&sandbox.path("other.gguf"), Some(1)).unwrap();
        let error = chat.use_adapter(&sandbox.path(adapter)).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        Chat::open(&sandbox.path("model.gguf"), Some(1))
            .unwrap()
            .use_adapter(&sandbox.path(adapter))
            .unwrap();
    }
    // As an earlier build wrote it: only the note beside it tells.
    let path = sandbox.path("out/adapter/adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let key = b"nightgraft.base.fingerprint";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    let mut without = bytes.clone();
    without[at..at + key.len()].copy_from_slice(b"something.of.somebody.else.");
    fs::write(&path, without).unwrap();
    let eval = "eval --data chats.jsonl --adapter out/adapter --model";
    assert_eq!(sandbox.run(&format!("{eval} other.gguf")).ok().err.matches(told).count(), 1);
    assert!(!sandbox.run(&format!("{eval} model.gguf")).ok().err.contains(told));
}
