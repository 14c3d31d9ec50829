//! Wrong and hostile inputs: exit code 1, one clear message, nothing half-written.

use std::{
    fs::{self, File},
    io::Write,
    process::{Command, Stdio},
};

use nightgraft_gguf::Value;
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel, split};

use super::{Sandbox, files};

/// Every way to open a model, with `{}` for it.
const COMMANDS: [&str; 7] = [
    "inspect {}",
    "tokenize --model {} hello",
    "train --model {} --data chats.jsonl --out out",
    "eval --model {} --data chats.jsonl",
    "generate --model {} --prompt hello",
    "gradients --model {} --init-adapter start --data chats.jsonl --out grads.safetensors",
    "export --model {} --adapter start --to gguf --out a.gguf",
];

#[test]
fn files_that_are_no_models() {
    let sandbox = Sandbox::new();
    let model = fs::read(sandbox.path("model.gguf")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(sandbox.path(name), bytes).unwrap();
    write("empty.gguf", b"");
    write("text.gguf", b"This is not a model at all.\n");
    write("header.gguf", &model[..16]);
    write("keys.gguf", &model[..200]);
    write("short.gguf", &model[..model.len() - 1]);
    write("half.gguf", &model[..model.len() / 2]);
    let mut counts = model.clone();
    counts[8..24].fill(0xff); // 2⁶⁴ − 1 tensors and keys
    write("counts.gguf", &counts);
    let mut version = model.clone();
    version[4] = 99;
    write("version.gguf", &version);
    fs::create_dir(sandbox.path("folder.gguf")).unwrap();

    let names =
        ["empty", "text", "header", "keys", "short", "half", "counts", "version", "folder", "missing"];
    for name in names.map(|name| format!("{name}.gguf")) {
        for command in COMMANDS {
            sandbox.run(&command.replace("{}", &name)).refuses(1, &[&name]);
        }
    }
    for device in ["/dev/null", "/dev/zero"] {
        sandbox.run(&format!("inspect {device}")).refuses(1, &[device]);
    }
    for left in ["out", "grads.safetensors", "a.gguf"] {
        assert!(!sandbox.path(left).exists(), "{left}");
    }
}

#[test]
fn a_missing_part_of_a_split_model_is_named() {
    let sandbox = Sandbox::new();
    let parts = split(&sandbox.path("model.gguf"), 3);
    fs::remove_file(&parts[1]).unwrap();
    for name in ["model-00001-of-00003.gguf", "model-00003-of-00003.gguf"] {
        for command in COMMANDS {
            let told = "part 2 of 3 is missing: put model-00002-of-00003.gguf beside it";
            sandbox.run(&command.replace("{}", name)).refuses(1, &[name, told]);
        }
    }
    for left in ["out", "grads.safetensors", "a.gguf"] {
        assert!(!sandbox.path(left).exists(), "{left}");
    }
}

#[test]
fn an_unknown_architecture_can_be_shown_but_not_trained() {
    let sandbox = Sandbox::new();
    let recipe = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q8_0) };
    let mut metadata = recipe.metadata();
    metadata.insert("general.architecture", Value::String("perceptron".into()));
    recipe.writer(metadata).unwrap().write(&sandbox.path("odd.gguf")).unwrap();

    let shown = sandbox.run("inspect odd.gguf --json").ok().json();
    assert_eq!(shown["architecture"], "perceptron");
    assert!(shown["not_trainable"].as_str().unwrap().contains("perceptron"), "{shown}");
    assert!(shown["tensors"].as_array().unwrap().iter().any(|group| group["format"] == "Q8_0"), "{shown}");
    sandbox.run("train --model odd.gguf --data chats.jsonl --out out").refuses(1, &["perceptron"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn weights_that_are_no_numbers_are_told() {
    let sandbox = Sandbox::new();
    let mut model = fs::read(sandbox.path("model.gguf")).unwrap();
    // The end of the last norm: f32 numbers with all bits set.
    let end = model.len() - 32;
    model[end..].fill(0xff);
    fs::write(sandbox.path("nan.gguf"), model).unwrap();
    let told = "is not a number: the model or the adapter is damaged";
    sandbox.run("eval --model nan.gguf --data chats.jsonl").refuses(1, &["the loss", told]);
    sandbox.run("generate --model nan.gguf --prompt hello").refuses(1, &["a logit", told]);
}

#[test]
fn data_with_a_bad_line_is_named_with_its_number() {
    let sandbox = Sandbox::new();
    let good = "{\"text\": \"one two three\"}\n";
    let cases: [(&str, String, &str); 7] = [
        ("json.jsonl", format!("{good}{good}{{\"text\": \"cut\n{good}"), "json.jsonl:3: "),
        ("kind.jsonl", format!("{good}{{\"words\": 1}}\n"), "kind.jsonl:2: "),
        ("type.jsonl", format!("{good}\n{{\"text\": 5}}\n"), "type.jsonl:3: "),
        ("role.jsonl", "{\"messages\": [{\"role\": 3, \"content\": \"a\"}]}\n".into(), "role.jsonl:1: "),
        ("ids.jsonl", "{\"input_ids\": [1, 99999999], \"labels\": [1, 2]}\n".into(), "ids.jsonl:1: "),
        ("empty.jsonl", String::new(), "empty.jsonl"),
        ("blank.txt", "\n \n".into(), "blank.txt"),
    ];
    for (name, text, fragment) in cases {
        fs::write(sandbox.path(name), text).unwrap();
        let command = format!("train --model model.gguf --data {name} --out out");
        sandbox.run(&command).refuses(1, &[fragment]);
        sandbox.run(&format!("eval --model model.gguf --data {name}")).refuses(1, &[fragment]);
        assert!(!sandbox.path("out").exists(), "{name}");
    }
    fs::write(sandbox.path("bytes.jsonl"), [b"{\"text\": \"", &[0xff, 0xfe][..], b"\"}\n"].concat()).unwrap();
    sandbox.run("eval --model model.gguf --data bytes.jsonl").refuses(1, &["bytes.jsonl"]);
    sandbox.run("eval --model model.gguf --data none.jsonl").refuses(1, &["none.jsonl", "No such file"]);
    sandbox.run("eval --model model.gguf --data .").refuses(1, &["."]);
}

#[test]
fn an_adapter_that_does_not_fit() {
    let sandbox = Sandbox::new();
    TinyModel { n_layer: 3, ..TinyModel::new(WeightType::Q8_0) }.write(&sandbox.path("deep.gguf")).unwrap();
    let trained = sandbox.run("train --model deep.gguf --data notes.txt --out deep --steps 1 --held-out 0");
    assert_eq!(trained.code, 1, "there are no notes yet");
    fs::write(sandbox.path("notes.txt"), "The cat sat on the mat. ".repeat(20)).unwrap();
    sandbox.run("train --model deep.gguf --data notes.txt --out deep --steps 1 --held-out 0").ok();

    for adapter in ["deep/adapter", "deep/adapter.gguf"] {
        sandbox
            .run(&format!("eval --model model.gguf --data chats.jsonl --adapter {adapter}"))
            .refuses(1, &["adapter", adapter]);
        sandbox
            .run(&format!("generate --model model.gguf --prompt a --adapter {adapter}"))
            .refuses(1, &["adapter", adapter]);
    }
    sandbox.train("--out out --init-adapter deep/adapter").refuses(1, &["deep/adapter"]);
    sandbox.train("--out out --init-adapter none").refuses(1, &["none"]);
    assert!(!sandbox.path("out").exists());

    let weights = sandbox.path("deep/adapter/adapter_model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    sandbox
        .run("eval --model deep.gguf --data notes.txt --adapter deep/adapter")
        .refuses(1, &["deep/adapter"]);
}

#[test]
fn places_that_cannot_be_written() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "in the way").unwrap();
    sandbox.train("--out file/out").refuses(1, &["file/out"]);
    sandbox.train("--out file").refuses(1, &["file"]);
    assert_eq!(fs::read(sandbox.path("file")).unwrap(), b"in the way");
    sandbox.run("inspect model.gguf").ok();
}

#[test]
fn a_full_disk_leaves_no_adapter() {
    let sandbox = Sandbox::new();
    // The adapter has 256 kB.
    let Some(disk) = SmallDisk::mount(&sandbox, "200k") else {
        eprintln!("skipped: no small disk can be mounted here (not root)");
        return;
    };
    sandbox
        .train("--out disk/out --steps 2 --checkpoint-every 0 --held-out 0")
        .refuses(1, &["disk/out", "No space left"]);
    let left = files(&sandbox.path("disk/out"));
    let unexpected = |name: &&String| name.contains("adapter") || name.contains("ngck");
    assert_eq!(left.iter().find(unexpected), None, "{left:?}");

    sandbox.train("--out roomy --steps 2 --held-out 0").ok();
    let merged =
        sandbox.run("export --adapter roomy/adapter --to merged-gguf --model model.gguf --out disk/m.gguf");
    merged.refuses(1, &["disk", "No space left"]);
    assert!(!files(&sandbox.path("disk")).iter().any(|name| name.contains("m.gguf")));
    drop(disk);
}

#[test]
fn a_store_on_a_full_disk_goes_on_when_there_is_room() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(&sandbox, "6m") else {
        eprintln!("skipped: no small disk can be mounted here (not root)");
        return;
    };
    let night = |store: &str| {
        sandbox.run(&format!(
            "night --model model.gguf --data chats.jsonl --store {store} --steps 4 --checkpoint-every 1 --seed 3"
        ))
    };
    let graft = |store: &str| {
        let out = format!("{}.peft", store.replace('/', "-"));
        sandbox.run(&format!("store export 1 --to peft --model model.gguf --out {out} --store {store}")).ok();
        fs::read(sandbox.path(&out).join("adapter_model.safetensors")).unwrap()
    };
    night("roomy").ok();
    // Room for the examples and for a part of the first checkpoint, which has 768 kB.
    fs::write(sandbox.path("disk/other"), vec![0; 5_600_000]).unwrap();
    night("disk/store").refuses(1, &["disk/store", "No space left"]);
    sandbox.run("store verify --store disk/store").ok();
    assert!(!files(&sandbox.path("disk/store")).iter().any(|name| name.contains("ngtmp")));
    fs::remove_file(sandbox.path("disk/other")).unwrap();
    night("disk/store").ok();
    assert!(graft("disk/store") == graft("roomy"), "the same as on a disk with room");
    drop(disk);
}

/// A tmpfs, which only root can mount.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(sandbox: &Sandbox, size: &str) -> Option<Self> {
        let at = sandbox.path("disk");
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn standard_output_that_fails_or_goes_away() {
    let sandbox = Sandbox::new();
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let output = sandbox.command(&["inspect", "model.gguf"]).stdout(full).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.starts_with("error: cannot write to standard output: No space left"), "{message}");
    }
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let status = sandbox.command(&["inspect", "missing.gguf"]).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "a message that cannot be written changes nothing");
    }
    // More than a pipe holds, so that the writer meets the closed end.
    let mut child = sandbox
        .command(&["tokenize", "--model", "model.gguf"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all("a b c d ".repeat(50_000).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn standard_input_that_is_no_text() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(&["tokenize", "--model", "model.gguf"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&[0xff, 0xfe, 0x00]).unwrap();
    super::RunOutput::from(child.wait_with_output().unwrap()).refuses(1, &["standard input is not UTF-8"]);
}
