//! Nothing leaves the machine, and nothing readable stays behind where a key was given.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::process::{Command, Output};

use crate::night::{Sandbox, files_below};

/// Words that stand in the made-up examples and nowhere else.
const CANARIES: [&str; 3] = ["boat has", "sails and a red", "red hull"];
/// Bytes of the adapter that must be nowhere in clear.
const WINDOW: usize = 32;

/// Runs a command whose process dies at the first attempt to make or use a socket.
#[cfg(target_os = "linux")]
fn without_sockets(command: &mut Command) -> Output {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    // A pair of Unix sockets within the process is how the signal handler wakes its thread.
    let unix =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_UNIX as u64).unwrap();
    let calls = [
        (libc::SYS_socket, vec![]),
        (libc::SYS_socketpair, vec![SeccompRule::new(vec![unix]).unwrap()]),
        (libc::SYS_connect, vec![]),
        (libc::SYS_bind, vec![]),
        (libc::SYS_listen, vec![]),
    ];
    let filter = SeccompFilter::new(
        calls.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    // The filter binds this one thread and the processes that it starts.
    std::thread::scope(|scope| {
        let run = scope.spawn(move || {
            seccompiler::apply_filter(&filter).unwrap();
            command.output().unwrap()
        });
        run.join().unwrap()
    })
}

#[cfg(target_os = "linux")]
#[test]
fn no_command_that_works_on_data_touches_a_socket() {
    use std::os::unix::process::ExitStatusExt;

    // The filter works: what has to reach the network dies.
    let mut fetch = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    fetch.args(["fetch", "hf:nobody/nothing/model.gguf"]).env("NIGHTGRAFT_CACHE", std::env::temp_dir());
    let status = without_sockets(&mut fetch).status;
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");

    let sandbox = Sandbox::tiny();
    let (model, notes) = (sandbox.path("tiny.gguf"), sandbox.path("notes.jsonl"));
    let (model, notes) = (model.to_str().unwrap(), notes.to_str().unwrap());
    let adapter = sandbox.path("run/adapter");
    let adapter = adapter.to_str().unwrap();
    let (run, gguf) = (sandbox.path("run"), sandbox.path("a.gguf"));
    let (store, plain) = (sandbox.path("s"), ["--steps", "2", "--context", "64"]);
    let commands: [&[&str]; 8] = [
        &["train", "--model", model, "--data", notes, "--out", run.to_str().unwrap(), plain[0], plain[1]],
        &["eval", "--model", model, "--data", notes, "--adapter", adapter],
        &["generate", "--model", model, "--adapter", adapter, "--prompt", "note", "--max-tokens", "4"],
        &["export", "--adapter", adapter, "--model", model, "--to", "gguf", "--out", gguf.to_str().unwrap()],
        &["inspect", model],
        &["tokenize", "--model", model, "note"],
        &["night", "--model", model, "--data", notes, "--store", store.to_str().unwrap(), plain[0], plain[1]],
        &["store", "list", "--store", store.to_str().unwrap()],
    ];
    for args in commands {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        let output = without_sockets(command.args(args));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {} {error}", args[0], output.status);
    }
}

#[test]
fn with_a_key_nothing_readable_is_in_the_store() {
    let sandbox = Sandbox::tiny();
    let key = sandbox.path("key");
    fs::write(&key, "5a".repeat(32)).unwrap();
    let key = ["--key-file", key.to_str().unwrap()];

    // Stopped in the middle, so that a session and its checkpoints are there too.
    let mut child = sandbox.night("sealed", &key).stdout(std::process::Stdio::null()).spawn().unwrap();
    while files_below_if_there(&sandbox, "sealed").iter().all(|name| !name.ends_with(".ngck")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_unreadable(&sandbox, "sealed", &[]);

    sandbox.whole_night("sealed", &key);
    let adapter = sandbox.graft("sealed", &key);
    assert_unreadable(&sandbox, "sealed", &adapter);

    // The search finds what is there to be found.
    sandbox.whole_night("plain", &[]);
    assert_eq!(sandbox.graft("plain", &[]), adapter, "encryption does not change the result");
    let found = readable(&sandbox, "plain", &adapter);
    assert!(found.iter().any(|what| what == CANARIES[0]) && found.iter().any(|what| what == "adapter"));
}

fn files_below_if_there(sandbox: &Sandbox, store: &str) -> Vec<String> {
    let folder = sandbox.path(store).join("session");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn assert_unreadable(sandbox: &Sandbox, store: &str, adapter: &[u8]) {
    assert_eq!(readable(sandbox, store, adapter), Vec::<String>::new());
}

/// What of the examples and of the adapter stands in clear in any file of a store.
fn readable(sandbox: &Sandbox, store: &str, adapter: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    // Every window of the adapter that is not zeros, as a set to search the files with.
    let windows: std::collections::HashSet<&[u8]> = adapter
        .as_chunks::<WINDOW>()
        .0
        .iter()
        .map(<[u8; WINDOW]>::as_slice)
        .filter(|window| window.iter().any(|&byte| byte != 0))
        .skip(64) // the header of the exported file is not in the store
        .collect();
    for file in files_below(&sandbox.path(store)) {
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        found.extend(CANARIES.iter().filter(|canary| text.contains(**canary)).map(|&c| c.to_owned()));
        if bytes.windows(WINDOW).any(|window| windows.contains(window)) {
            found.push("adapter".to_owned());
        }
    }
    found
}

#[test]
fn logs_hold_no_text_of_the_user() {
    let sandbox = Sandbox::tiny();
    let output = sandbox.night("logged", &["--quiet"]).env("NIGHTGRAFT_LOG", "trace").output().unwrap();
    assert!(output.status.success());
    // A line that cannot be used is spoken of, too.
    fs::write(sandbox.path("bad.jsonl"), "{\"text\": \"the boat has\" sails}\n{\"txt\": \"a red hull\"}\n")
        .unwrap();
    let mut bad = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    bad.args(["journal", "add", "--store"]).arg(sandbox.path("logged")).arg(sandbox.path("bad.jsonl"));
    let refused = bad.env("NIGHTGRAFT_LOG", "trace").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let logs = [output.stdout, output.stderr, refused.stdout, refused.stderr].concat();
    let logs = String::from_utf8_lossy(&logs);
    assert!(logs.contains("step"), "there is something in it");
    for canary in CANARIES {
        assert!(!logs.contains(canary), "{canary:?} is in a log");
    }
}

/// What a template says of a conversation may quote it: the person at the terminal reads it, and nobody else.
#[test]
fn what_a_template_says_is_shown_and_never_logged() {
    use nightgraft_tiny_model::TinyModel;

    let folder = tempfile::tempdir().unwrap();
    let template = "{% for m in messages %}{{ raise_exception('I do not say: ' ~ m.content) }}{% endfor %}";
    let tiny = TinyModel {
        chat_template: Some(template.to_owned()),
        ..TinyModel::new(nightgraft_kernels::WeightType::Q4_1)
    };
    tiny.write(&folder.path().join("tiny.gguf")).unwrap();
    let turn = |role: &str| serde_json::json!({"role": role, "content": format!("{role} {}", CANARIES[0])});
    let line = serde_json::json!({ "messages": [turn("user"), turn("assistant")] });
    fs::write(folder.path().join("chats.jsonl"), format!("{line}\n")).unwrap();
    let run = |args: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.current_dir(folder.path()).env("NIGHTGRAFT_LOG", "trace");
        let output = command.args(args.split_whitespace()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };

    let (code, text) = run("train --model tiny.gguf --data chats.jsonl --out out");
    let told: Vec<_> = text.lines().filter(|line| line.contains(CANARIES[0])).collect();
    assert_eq!(code, Some(1), "{text}");
    let expected = "error: chats.jsonl:1: chat template: it refuses the conversation (line 1 of the template): I do not say: user boat has";
    assert_eq!(told, [expected]);

    // Nobody sits before a night: lines that cannot be used are counted.
    let (_, text) = run("night --json --model tiny.gguf --data chats.jsonl --store store");
    assert!(!text.contains(CANARIES[0]), "{text}");
}
