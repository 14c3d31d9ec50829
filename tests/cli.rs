//! The `nightgraft` binary as scripts and people meet it: output, exit codes, files left behind.

#![allow(clippy::unwrap_used, clippy::panic)]

mod adapters;
mod devices;
mod fetch;
#[cfg(unix)]
mod file_permissions;
mod help;
mod hub;
mod hub_server;
#[cfg(unix)]
mod import;
mod invalid_inputs;
mod overwriting;
mod split;
mod standard_input;
mod store;
mod usage;
mod warnings;
mod workflow;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use assert_cmd::cargo::cargo_bin;
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};
use tempfile::TempDir;

/// Conversations enough for a few steps on a tiny model.
const CHATS: usize = 24;

/// A folder with a tiny model, `model.gguf`, and conversations, `chats.jsonl`.
struct Sandbox {
    folder: TempDir,
}

/// What a run of the binary left.
struct RunOutput {
    code: i32,
    out: String,
    err: String,
}

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        let model = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        model.write(&sandbox.path("model.gguf")).unwrap();
        fs::write(sandbox.path("chats.jsonl"), chats()).unwrap();
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary in this folder, cut off from the user's caches and settings.
    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(cargo_bin("nightgraft"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command
            .env("NIGHTGRAFT_CACHE", self.path("cache"))
            .env("HF_HOME", self.path("hub"))
            .env("COLUMNS", "100");
        for name in ["NIGHTGRAFT_LOG", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &str) -> RunOutput {
        let args: Vec<_> = args.split_whitespace().collect();
        self.command(&args).output().unwrap().into()
    }

    /// `train` with the settings of most tests here: two threads, four steps, quick evaluation.
    fn train(&self, more: &str) -> RunOutput {
        self.run(&format!("train --model model.gguf --data chats.jsonl --threads 2 {more}"))
    }
}

impl From<Output> for RunOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl RunOutput {
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// One message, of one line, and nothing on standard output.
    fn refuses(&self, code: i32, fragments: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        assert_eq!(self.out, "");
        let errors: Vec<_> = self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one message: {}", self.err);
        assert_eq!(self.err.lines().last(), Some(errors[0]), "the message comes last");
        assert!(!self.err.contains("panicked") && !self.err.contains("internal error"), "{}", self.err);
        for fragment in fragments {
            assert!(errors[0].contains(fragment), "{fragment:?} in {}", errors[0]);
        }
    }
}

fn chats() -> String {
    let chat = |i: usize| {
        let (question, answer) = (format!("What is {i} and {i}?"), format!("It is {}.", i + i));
        let messages = serde_json::json!({"messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]});
        format!("{messages}\n")
    };
    (0..CHATS).map(chat).collect()
}

/// The keys of an object, in order.
fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Every file below a folder, by its relative path.
fn files(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}
