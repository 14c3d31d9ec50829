//! Nothing is written over that no earlier run wrote, nor anything that the run itself reads.

use std::{fs, os::unix::fs::symlink, path::Path, time::SystemTime};

use super::{Sandbox, files};

/// Quick, without an evaluation.
const QUICK: &str = "--steps 2 --held-out 0";

/// Every file below a folder with its bytes and when it was written.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
    let of = |name: String| {
        let path = folder.join(&name);
        let written = fs::symlink_metadata(&path).unwrap().modified().unwrap();
        (name, fs::read(&path).unwrap_or_default(), written)
    };
    files(folder).into_iter().map(of).collect()
}

/// A folder with something of somebody else in the place of a result, of that result's own kind where others have such files.
fn write_foreign_result(sandbox: &Sandbox, folder: &str, name: &str) {
    let path = sandbox.path(folder).join(name);
    fs::create_dir_all(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    match name {
        "config.toml" => fs::write(path, "rank = 4\n").unwrap(),
        "metrics.jsonl" => fs::write(path, "{\"step\": 1, \"loss\": 2.5}\n").unwrap(),
        "base.json" => fs::write(path, "{\"model\": \"other\"}\n").unwrap(),
        "loss.svg" => fs::write(path, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n").unwrap(),
        "adapter" => {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("adapter_config.json"), "{\"peft_type\": \"LORA\", \"auto_mapping\": null}")
                .unwrap();
            fs::write(path.join("adapter_model.safetensors"), "somebody's").unwrap();
        }
        "adapter.gguf" => {
            fs::copy(sandbox.path("model.gguf"), path).unwrap();
        }
        "checkpoints" => {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("checkpoint-10.pt"), "somebody's").unwrap();
        }
        other => panic!("{other} is no result"),
    }
}

const RESULTS: [&str; 7] =
    ["base.json", "config.toml", "metrics.jsonl", "adapter", "adapter.gguf", "loss.svg", "checkpoints"];

#[test]
fn what_somebody_else_wrote_is_named_and_stays() {
    let sandbox = Sandbox::new();
    for name in RESULTS {
        write_foreign_result(&sandbox, "one", name);
        let before = snapshot(&sandbox.path("one"));
        for resume in ["auto", "never"] {
            sandbox
                .train(&format!("--out one {QUICK} --resume {resume}"))
                .refuses(2, &["--out: ", name, "another folder"]);
        }
        assert_eq!(snapshot(&sandbox.path("one")), before, "{name}");
        fs::remove_dir_all(sandbox.path("one")).unwrap();
        write_foreign_result(&sandbox, "all", name);
    }
    sandbox
        .train(&format!("--out all {QUICK}"))
        .refuses(2, &["base.json, config.toml, metrics.jsonl, adapter, "]);
    fs::create_dir(sandbox.path("notes")).unwrap();
    fs::write(sandbox.path("notes/todo.txt"), "water the plants").unwrap();
    sandbox.train(&format!("--out notes {QUICK}")).ok();
    assert_eq!(fs::read_to_string(sandbox.path("notes/todo.txt")).unwrap(), "water the plants");
}

/// The note of a run does not make everything beside it a run's.
#[test]
fn a_run_s_folder_is_not_a_free_hand() {
    let sandbox = Sandbox::new();
    for name in &RESULTS[1..] {
        sandbox.train(&format!("--out out {QUICK}")).ok();
        let result = sandbox.path("out").join(name);
        if result.is_dir() {
            fs::remove_dir_all(&result).unwrap()
        } else {
            fs::remove_file(&result).unwrap()
        }
        write_foreign_result(&sandbox, "out", name);
        let before = snapshot(&sandbox.path("out"));
        sandbox.train(&format!("--out out {QUICK} --resume never")).refuses(2, &["--out: ", name]);
        assert_eq!(snapshot(&sandbox.path("out")), before, "{name}");
        fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
    sandbox.train(&format!("--out out {QUICK}")).ok();
    fs::write(sandbox.path("out/adapter/README.md"), "mine").unwrap();
    sandbox.train(&format!("--out out {QUICK}")).refuses(2, &["adapter"]);
}

/// Other programs have files of these names too.
#[test]
fn another_program_s_note_and_settings_are_no_run() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("out")).unwrap();
    let settings = sandbox.path("out/config.toml");
    let note = |fingerprint: &str| {
        let note = format!("{{\"model\": \"other\", \"fingerprint\": \"{fingerprint}\"}}");
        fs::write(sandbox.path("out/base.json"), note).unwrap();
    };
    for (fingerprint, config, foreign) in [
        ("v1.2", "", "lose base.json,"),
        ("v1.2", "rank = 4\n", "lose base.json, config.toml,"),
        (&"9e".repeat(32), "# mine\n", "lose config.toml,"),
        (&"9e".repeat(32), "rank = 4\nlr = 0.001\nepochs = 3\nseed = 1\n", "lose config.toml,"),
    ] {
        note(fingerprint);
        fs::write(&settings, config).unwrap();
        let before = snapshot(&sandbox.path("out"));
        sandbox.train(&format!("--out out {QUICK}")).refuses(2, &[foreign]);
        assert_eq!(snapshot(&sandbox.path("out")), before, "{fingerprint} {config}");
    }
}

#[test]
fn a_run_of_ours_goes_on_or_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.train(&format!("--out out {QUICK}")).ok();
    assert!(sandbox.train(&format!("--out out {QUICK}")).ok().err.contains("going on after step 2"));
    sandbox.train(&format!("--out out {QUICK} --resume never --rank 2")).ok();
    sandbox.train("--out out --config out/config.toml --resume never").ok();
    // Killed before its first step.
    for name in ["adapter", "checkpoints"] {
        fs::remove_dir_all(sandbox.path("out").join(name)).unwrap();
    }
    fs::write(sandbox.path("out/metrics.jsonl"), "{\"step\":1,\"lo").unwrap();
    sandbox.train(&format!("--out out {QUICK} --resume never")).ok();
    // Of a folder that was made beforehand nothing is lost.
    fs::create_dir_all(sandbox.path("new/adapter")).unwrap();
    fs::write(sandbox.path("new/metrics.jsonl"), "").unwrap();
    sandbox.train(&format!("--out new {QUICK}")).ok();
}

/// Not even a lock is left.
#[test]
fn an_empty_file_in_the_place_of_a_folder_is_refused_untouched() {
    let sandbox = Sandbox::new();
    for (name, is_folder) in [("adapter", false), ("config.toml", true), ("adapter.gguf", true)] {
        let path = sandbox.path("out").join(name);
        fs::create_dir_all(&path).unwrap();
        if !is_folder {
            fs::remove_dir(&path).unwrap();
            fs::write(&path, "").unwrap();
        }
        sandbox.train(&format!("--out out {QUICK}")).refuses(1, &[name]);
        let left: Vec<_> =
            fs::read_dir(sandbox.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [name]);
        fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

#[test]
fn links_in_the_place_of_results_are_refused() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("out")).unwrap();
    fs::write(sandbox.path("precious"), "").unwrap();
    symlink(sandbox.path("precious"), sandbox.path("out/metrics.jsonl")).unwrap();
    sandbox.train(&format!("--out out {QUICK}")).refuses(2, &["metrics.jsonl"]);
    fs::remove_file(sandbox.path("out/metrics.jsonl")).unwrap();
    sandbox.train(&format!("--out out {QUICK}")).ok();
    fs::rename(sandbox.path("out/adapter"), sandbox.path("moved")).unwrap();
    symlink(sandbox.path("moved"), sandbox.path("out/adapter")).unwrap();
    sandbox.train(&format!("--out out {QUICK}")).refuses(2, &["adapter"]);
}

/// Whatever the files are called, and however they got there.
#[test]
fn what_a_run_reads_is_never_among_what_it_writes() {
    let sandbox = Sandbox::new();
    sandbox.train(&format!("--out out {QUICK}")).ok();
    let start = "--init-adapter out/adapter";
    sandbox
        .train(&format!("--out out {QUICK} --resume never {start}"))
        .refuses(2, &["--out: ", "--init-adapter"]);
    sandbox
        .train(&format!("--out ./out/../out {QUICK} {start}.gguf"))
        .refuses(2, &["--out: ", "--init-adapter"]);

    fs::remove_file(sandbox.path("out/metrics.jsonl")).unwrap();
    fs::hard_link(sandbox.path("chats.jsonl"), sandbox.path("out/metrics.jsonl")).unwrap();
    let before = fs::read(sandbox.path("chats.jsonl")).unwrap();
    sandbox.train(&format!("--out out {QUICK} --resume never")).refuses(2, &["--out: ", "the --data"]);
    sandbox
        .run(&format!("train --model model.gguf --data out/metrics.jsonl --out out {QUICK}"))
        .refuses(2, &["--out: ", "the --data"]);
    fs::write(sandbox.path("other.jsonl"), &before).unwrap();
    sandbox
        .run("train --model model.gguf --data other.jsonl --valid chats.jsonl --out out --steps 1")
        .refuses(2, &["--out: ", "the --valid"]);
    assert_eq!(fs::read(sandbox.path("chats.jsonl")).unwrap(), before);
}

#[test]
fn exports_replace_exports_only() {
    let sandbox = Sandbox::new();
    sandbox.train(&format!("--out out {QUICK}")).ok();
    let export = |to: &str, out: &str| {
        sandbox.run(&format!("export --model model.gguf --adapter out/adapter --to {to} --out {out}"))
    };
    fs::create_dir(sandbox.path("notes")).unwrap();
    fs::write(sandbox.path("notes/todo.txt"), "water the plants").unwrap();
    for (to, out) in [("gguf", "a.gguf"), ("peft", "peft"), ("merged-gguf", "merged.gguf")] {
        export(to, out).ok();
        export(to, out).ok();
        for input in ["model.gguf", "out/adapter"] {
            export(to, input).refuses(2, &["--out: ", "would replace"]);
        }
        for theirs in ["chats.jsonl", "notes"] {
            let before = snapshot(&sandbox.path(""));
            export(to, theirs).refuses(2, &["--out: ", theirs, "no earlier run wrote it"]);
            assert_eq!(snapshot(&sandbox.path("")), before, "{to} {theirs}");
        }
    }
    // A model is no adapter, and a copy of the model no merged one.
    fs::copy(sandbox.path("model.gguf"), sandbox.path("copy.gguf")).unwrap();
    for to in ["gguf", "merged-gguf"] {
        export(to, "copy.gguf").refuses(2, &["copy.gguf", "no earlier run wrote it"]);
    }
    fs::write(sandbox.path("empty.gguf"), "").unwrap();
    export("gguf", "empty.gguf").ok();
    fs::hard_link(sandbox.path("model.gguf"), sandbox.path("link.gguf")).unwrap();
    export("gguf", "link.gguf").refuses(2, &["the --model"]);
}

#[test]
fn measurements_replace_measurements_only() {
    let sandbox = Sandbox::new();
    sandbox.train(&format!("--out out {QUICK}")).ok();
    let eval = "eval --model model.gguf --data chats.jsonl --logits";
    let gradients = "gradients --model model.gguf --data chats.jsonl --init-adapter out/adapter --out";
    for (command, own) in [(eval, "l.safetensors"), (gradients, "g.safetensors")] {
        sandbox.run(&format!("{command} {own}")).ok();
        sandbox.run(&format!("{command} {own}")).ok();
    }
    sandbox.run(&format!("{eval} chats.jsonl")).refuses(2, &["--logits: ", "the --data"]);
    sandbox.run(&format!("{gradients} model.gguf")).refuses(2, &["--out: ", "the --model"]);
    let weights = "out/adapter/adapter_model.safetensors";
    sandbox.run(&format!("{gradients} {weights}")).refuses(2, &["--out: ", "the --init-adapter"]);
    sandbox.run(&format!("{eval} {weights}")).refuses(2, &["--logits: ", "no earlier run wrote it"]);
    sandbox.run(&format!("{eval} g.safetensors")).refuses(2, &["--logits: ", "no earlier run wrote it"]);
}
