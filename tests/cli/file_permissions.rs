//! Whatever the umask, what a command leaves is its owner's alone.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use assert_cmd::cargo::cargo_bin;

use super::{RunOutput, Sandbox};

/// Runs the binary under a umask that forbids nothing.
fn without_umask(sandbox: &Sandbox, args: &str) -> RunOutput {
    let binary = cargo_bin("nightgraft");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(binary).args(args.split_whitespace());
    command.current_dir(sandbox.folder.path()).env("NIGHTGRAFT_CACHE", sandbox.path("cache"));
    command.stdin(Stdio::null()).output().unwrap().into()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Everything at and below `root` that others may do anything with.
fn exposed(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        if mode(&path) & 0o077 != 0 {
            found.push(format!("{:o} {}", mode(&path), path.display()));
        }
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

fn expose(root: &Path) {
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(root);
    if root.is_dir() {
        fs::read_dir(root).unwrap().for_each(|entry| expose(&entry.unwrap().path()));
    }
}

const TRAIN: &str = "train --model model.gguf --data chats.jsonl --threads 2 --context 64 --rank 2 --steps 2";

#[test]
fn a_run_and_its_exports_are_private() {
    let sandbox = Sandbox::new();
    without_umask(&sandbox, &format!("{TRAIN} --out deep/run --eval-every 1")).ok();
    assert_eq!(exposed(&sandbox.path("deep")), [] as [String; 0]);
    for (command, out) in [
        ("export --adapter deep/run/adapter --model model.gguf --to gguf --out a.gguf", "a.gguf"),
        ("export --adapter deep/run/adapter --model model.gguf --to merged-gguf --out m.gguf", "m.gguf"),
        ("export --adapter deep/run/adapter.gguf --model model.gguf --to peft --out p", "p"),
        ("eval --model model.gguf --data chats.jsonl --logits l.bin", "l.bin"),
    ] {
        without_umask(&sandbox, command).ok();
        assert_eq!(exposed(&sandbox.path(out)), [] as [String; 0]);
    }

    // A folder that was there stays as it was; what is put into it does not follow it.
    fs::create_dir(sandbox.path("mine")).unwrap();
    fs::set_permissions(sandbox.path("mine"), fs::Permissions::from_mode(0o777)).unwrap();
    without_umask(&sandbox, &format!("{TRAIN} --out mine")).ok();
    assert_eq!(exposed(&sandbox.path("mine")), [format!("777 {}", sandbox.path("mine").display())]);
}

#[test]
fn a_store_is_private_and_an_older_one_becomes_so() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("key"), [7; 32]).unwrap();
    for (store, key) in [("plain", ""), ("encrypted", " --key-file key")] {
        let night = format!(
            "night --model model.gguf --data chats.jsonl --store {store}{key} --steps 2 --context 64"
        );
        without_umask(&sandbox, &night).ok();
        without_umask(&sandbox, &format!("journal delete 1 --store {store}{key}")).ok();
        assert_eq!(exposed(&sandbox.path(store)), [] as [String; 0]);
        expose(&sandbox.path(store));
        assert!(exposed(&sandbox.path(store)).len() > 5);
        without_umask(&sandbox, &format!("store list --store {store}{key}")).ok();
        assert_eq!(exposed(&sandbox.path(store)), [] as [String; 0]);
    }
}

#[test]
fn a_run_of_an_older_build_becomes_private_and_strict_modes_stay() {
    let sandbox = Sandbox::new();
    without_umask(&sandbox, &format!("{TRAIN} --out run --eval-every 1")).ok();
    expose(&sandbox.path("run"));
    let strict = sandbox.path("run/config.toml");
    fs::set_permissions(&strict, fs::Permissions::from_mode(0o400)).unwrap();
    without_umask(&sandbox, &format!("{TRAIN} --out run --eval-every 1")).ok();
    // Whose the folder itself was cannot be told.
    assert_eq!(exposed(&sandbox.path("run")), [format!("777 {}", sandbox.path("run").display())]);
    assert_eq!(mode(&strict), 0o400);
}
