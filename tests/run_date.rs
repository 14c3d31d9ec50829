//! A chat template that writes today's date, and runs that outlive the day: the date is the one that they began with.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};
use serde_json::Value;

/// Two time zones, written out, in which it is never the same day.
const TODAY: &str = "WEST+12";
const TOMORROW: &str = "EAST-14";

/// As Llama 3.2's template does.
const SYSTEM: &str = "{% if date_string is not defined %}{% if strftime_now is defined %}\
    {% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}\
    {{ '<|im_start|>system\n' }}{{ 'Today Date: ' + date_string }}{{ '<|im_end|>\n' }}";

/// A tiny model whose template tells the date, and conversations, in a folder.
struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Self { folder };
        sandbox.model("dated.gguf", &format!("{SYSTEM}{CHATML}"));
        let line = |i: usize| {
            let turns = serde_json::json!([
                {"role": "user", "content": format!("how many sails has boat {i}?")},
                {"role": "assistant", "content": format!("boat {i} has {} sails", i * 3 % 5)},
            ]);
            format!("{}\n", serde_json::json!({ "messages": turns }))
        };
        fs::write(sandbox.path("chats.jsonl"), (0..40).map(line).collect::<String>()).unwrap();
        fs::write(sandbox.path("text.jsonl"), "{\"text\": \"Plain text needs no template.\"}\n").unwrap();
        sandbox
    }

    fn model(&self, name: &str, template: &str) {
        let tiny = TinyModel { chat_template: Some(template.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `nightgraft` in a time zone. Its arguments are words, and the paths are relative to the folder.
    fn command(&self, zone: &str, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.current_dir(self.folder.path()).env("TZ", zone).args(args.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run_ok(&self, zone: &str, args: &str) -> Output {
        let output = self.command(zone, args).output().unwrap();
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Stops a command as Ctrl-C does, as soon as `is_due`.
    fn run_and_interrupt(&self, zone: &str, args: &str, is_due: impl Fn() -> bool) {
        let mut command = self.command(zone, args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !is_due() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }

    fn has_a_checkpoint(&self, folder: &str) -> bool {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.path().extension().is_some_and(|kind| kind == "ngck"))
    }

    fn adapter(&self, folder: &str) -> Vec<u8> {
        fs::read(self.path(folder).join("adapter_model.safetensors")).unwrap()
    }

    /// The last graft's adapter.
    fn graft(&self, store: &str) -> Vec<u8> {
        let list = self.run_ok(TOMORROW, &format!("store list --json --store {store}"));
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        let id = &list.as_array().unwrap().last().unwrap()["id"];
        let out = format!("{store}.peft");
        self.run_ok(
            TOMORROW,
            &format!("store export {id} --to peft --model dated.gguf --out {out} --store {store}"),
        );
        self.adapter(&out)
    }

    fn loss(&self, zone: &str, more: &str) -> f64 {
        let output = self
            .run_ok(zone, &format!("eval --json --model dated.gguf --data chats.jsonl --threads 1 {more}"));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["loss"].as_f64().unwrap()
    }
}

const SETTINGS: &str = "--epochs 20 --lr 1e-3 --dropout 0.1 --context 128 --batch-tokens 256 --held-out 0.2 \
    --patience 0 --checkpoint-every 3 --threads 1";

fn date_in(path: &Path, before: &str) -> String {
    let bytes = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no date in {}", path.display()));
    rest.split_once('"').unwrap().0.to_owned()
}

#[test]
fn a_run_that_is_stopped_before_midnight_ends_in_the_same_bytes() {
    let sandbox = Sandbox::new();
    let train = |out: &str| format!("train --model dated.gguf --data chats.jsonl --out {out} {SETTINGS}");
    sandbox.run_and_interrupt(TODAY, &train("stopped"), || sandbox.has_a_checkpoint("stopped/checkpoints"));
    let began = date_in(&sandbox.path("stopped/config.toml"), "date = \"");
    sandbox.run_ok(TOMORROW, &train("stopped"));
    assert_eq!(date_in(&sandbox.path("stopped/config.toml"), "date = \""), began);

    sandbox.run_ok(TODAY, &format!("{} --date {began}", train("straight")));
    assert_eq!(sandbox.adapter("stopped/adapter"), sandbox.adapter("straight/adapter"));
    sandbox.run_ok(TOMORROW, &train("later"));
    assert_ne!(sandbox.adapter("later/adapter"), sandbox.adapter("straight/adapter"), "the date matters");

    // Its evaluation takes its date; without a run, it is today's; what is said wins.
    let of_run = sandbox.loss(TOMORROW, "--adapter stopped/adapter");
    assert_eq!(of_run, sandbox.loss(TODAY, &format!("--adapter stopped/adapter.gguf --date {began}")));
    assert_ne!(of_run, sandbox.loss(TODAY, "--adapter stopped/adapter --date 2001-01-01"));
    assert_ne!(sandbox.loss(TODAY, ""), sandbox.loss(TOMORROW, ""));

    // Another date is another run, and that is what the refusal says.
    let output = sandbox.command(TODAY, &format!("{} --date 2001-01-01", train("stopped"))).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains(&began) && error.contains("2001-01-01"), "{error}");
}

#[test]
fn a_killed_run_keeps_its_date_before_the_first_checkpoint_too() {
    let sandbox = Sandbox::new();
    let train = format!(
        "train --model dated.gguf --data chats.jsonl --out killed {SETTINGS} --checkpoint-every 1000"
    );
    let mut child = sandbox.command(TODAY, &train).stderr(Stdio::null()).spawn().unwrap();
    while !sandbox.path("killed/config.toml").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let began = date_in(&sandbox.path("killed/config.toml"), "date = \"");
    sandbox.run_ok(TOMORROW, &train);
    assert_eq!(date_in(&sandbox.path("killed/config.toml"), "date = \""), began);
    sandbox.run_ok(TOMORROW, &format!("{train} --resume never"));
    assert_ne!(date_in(&sandbox.path("killed/config.toml"), "date = \""), began, "it is another run");
}

#[test]
fn a_session_of_two_days_ends_in_the_same_graft() {
    let sandbox = Sandbox::new();
    let night = |store: &str| {
        format!("night --json --model dated.gguf --data chats.jsonl --store {store} {SETTINGS}")
    };
    sandbox.run_and_interrupt(TODAY, &night("stopped"), || sandbox.has_a_checkpoint("stopped/session"));
    let began = date_in(&sandbox.path("stopped/session/session.ngs"), "\"date\":\"");
    let events = sandbox.run_ok(TOMORROW, &night("stopped")).stdout;
    let events = String::from_utf8_lossy(&events).into_owned();
    assert!(events.contains("\"event\":\"resumed\""), "{events}");

    sandbox.run_ok(TOMORROW, &format!("{} --date {began}", night("straight")));
    assert_eq!(sandbox.graft("stopped"), sandbox.graft("straight"));
    sandbox.run_ok(TOMORROW, &night("later"));
    assert_ne!(sandbox.graft("later"), sandbox.graft("straight"), "the date matters");
}

/// A run that a build began which did not note the date goes on, on the day on which its settings were written.
#[test]
fn a_run_without_a_date_goes_on_as_of_when_it_began() {
    let sandbox = Sandbox::new();
    let train = format!("train --model dated.gguf --data chats.jsonl --out run {SETTINGS}");
    let dated = format!("{train} --date 2026-11-29T21:00:00");
    sandbox.run_and_interrupt(TODAY, &dated, || sandbox.has_a_checkpoint("run/checkpoints"));
    let config = sandbox.path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let undated: String =
        text.lines().filter(|line| !line.starts_with("date")).map(|line| format!("{line}\n")).collect();
    fs::write(&config, undated).unwrap();
    // The checkpoint knows it as well.
    sandbox.run_ok(TOMORROW, &train);
    assert_eq!(date_in(&config, "date = \""), "2026-11-29T21:00:00");
}

#[test]
fn a_template_that_does_not_parse_stops_only_what_needs_it() {
    let sandbox = Sandbox::new();
    sandbox.model("broken.gguf", "{% for message in messages %}{{ message.content %}");
    for works in [
        "eval --model broken.gguf --data text.jsonl",
        "generate --model broken.gguf --prompt hello --max-tokens 3",
        "train --model broken.gguf --data text.jsonl --out out --held-out 0 --steps 2",
        "inspect broken.gguf",
    ] {
        sandbox.run_ok(TODAY, works);
    }
    for (needs_it, place_named) in [
        ("eval --model broken.gguf --data chats.jsonl", "chats.jsonl:1: "),
        ("generate --model broken.gguf --prompt hello --chat", ""),
    ] {
        let output = sandbox.command(TODAY, needs_it).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{needs_it}");
        assert!(error.contains(&format!("{place_named}chat template: it does not parse (line 1")), "{error}");
    }
}
