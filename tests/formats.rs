//! What earlier builds left behind: it opens and goes on, or is refused by its version and stays. See
//! `tests/data/formats/README.md`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nightgraft_files::file_system;
use nightgraft_kernels::WeightType;
use nightgraft_store::vault::Vault;
use nightgraft_tiny_model::{CHATML, TinyModel};
use serde_json::Value;

/// What the corpus was made with, and every session and run in it.
const SETTINGS: &str =
    "--rank 2 --targets attn_q,ffn_down --layers 1..2 --threads 1 --lr 1e-3 --seed 7 --precision f32";
const STOPPED: &str = "--out stopped --steps 40 --accumulate 3 --eval-every 6 --checkpoint-every 0";
const DROPOUT: &str =
    "--out dropout --steps 40 --accumulate 3 --eval-every 0 --dropout 0.1 --checkpoint-every 0";
const SESSION: &str = "--steps 60 --accumulate 2 --checkpoint-every 5";
/// Held-out perplexity and loss are rounded by the system's own library in the build that made the corpus.
const ROUNDING: f64 = 1e-6;

/// A copy of the corpus, with the model and the data that it was made with.
struct Corpus {
    folder: tempfile::TempDir,
}

struct RunOutput {
    success: bool,
    out: String,
    err: String,
}

impl Corpus {
    fn new() -> Self {
        let corpus = Self { folder: tempfile::tempdir().unwrap() };
        let formats = Path::new("tests/data/formats");
        copy(&formats.join("v1"), corpus.folder.path());
        fs::copy(formats.join("chats.jsonl"), corpus.path("chats.jsonl")).unwrap();
        let model = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        model.write(&corpus.path("tiny.gguf")).unwrap();
        corpus
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &str) -> RunOutput {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        command.args(args.split_whitespace()).current_dir(self.folder.path());
        let output = command.env("NIGHTGRAFT_CACHE", self.path("cache")).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        RunOutput { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn train(&self, run: &str) -> RunOutput {
        self.run(&format!("train --json --model tiny.gguf --data chats.jsonl {SETTINGS} {run}"))
    }

    fn night(&self, store: &str) -> RunOutput {
        self.run(&format!("night --json --model tiny.gguf {SETTINGS} {SESSION} --store {store}"))
    }

    fn eval(&self, adapter: &str) -> f64 {
        let ran = self.run(&format!("eval --json --model tiny.gguf --data chats.jsonl --adapter {adapter}"));
        ran.ok().last()["loss"].as_f64().unwrap()
    }

    /// Every file with its bytes, but for locks.
    fn files(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with(".lock") && !path.ends_with("lock") {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

impl RunOutput {
    fn ok(self) -> Self {
        assert!(self.success, "{}{}", self.out, self.err);
        self
    }

    /// The last line of a report.
    fn last(&self) -> Value {
        serde_json::from_str(self.out.lines().last().unwrap()).unwrap()
    }

    /// The step that it went on from.
    fn resumed(&self) -> u64 {
        let events = self.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let resumed = events.into_iter().find(|event| event["event"] == "resumed");
        resumed.unwrap_or_else(|| panic!("it did not go on: {}{}", self.out, self.err))["step"]
            .as_u64()
            .unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn assert_near(value: f64, expected: f64) {
    assert!((value / expected - 1.0).abs() < ROUNDING, "{value} instead of {expected}");
}

#[test]
fn the_tiny_model_is_still_the_same() {
    let corpus = Corpus::new();
    let note: Value = serde_json::from_slice(&fs::read(corpus.path("finished/base.json")).unwrap()).unwrap();
    let model = corpus.run("inspect --json tiny.gguf").ok().last();
    assert_eq!(model["fingerprint"], note["fingerprint"]);
}

#[test]
fn runs_go_on_from_their_checkpoints() {
    let corpus = Corpus::new();
    let ran = corpus.train(STOPPED).ok();
    assert_eq!(ran.resumed(), 8);
    // What the build that made the corpus came to.
    assert_near(corpus.eval("stopped/adapter"), 5.158_961_138_691_936);
    assert_near(corpus.eval("stopped/adapter.gguf"), 5.158_961_138_691_936);

    // Its masks are others from here on, drawn from a better key.
    let ran = corpus.train(DROPOUT).ok();
    assert_eq!(ran.resumed(), 8);
    assert!(corpus.eval("dropout/adapter") < 5.3);

    let before = corpus.files("finished/checkpoints");
    let finished = "--out finished --steps 6 --eval-every 3 --checkpoint-every 3 --keep-checkpoints 1";
    assert_eq!(corpus.train(finished).ok().resumed(), 6);
    assert_eq!(corpus.files("finished/checkpoints"), before);
}

#[test]
fn adapters_open() {
    let corpus = Corpus::new();
    let loss = corpus.eval("finished/adapter");
    assert_near(loss, 6.083_716_637_271_268);
    assert_eq!(corpus.eval("finished/adapter.gguf"), loss);
    corpus.run("export --model tiny.gguf --adapter finished/adapter.gguf --to peft --out exported").ok();
    assert_eq!(corpus.eval("exported"), loss);
    corpus.run("generate --model tiny.gguf --adapter finished/adapter --prompt The --max-tokens 4").ok();
    let another =
        format!("{DROPOUT} --init-adapter finished/adapter").replace("--out dropout", "--out another");
    corpus.train(&another).ok();
}

#[test]
fn stores_open_and_their_sessions_go_on() {
    let corpus = Corpus::new();
    for (name, store) in [("plain", "plain"), ("encrypted", "encrypted --key-file key")] {
        let list = |ran: RunOutput| ran.ok().out;
        assert!(list(corpus.run(&format!("store verify --store {store}"))).contains("nothing is damaged"));
        assert!(
            list(corpus.run(&format!("journal list --store {store}"))).contains("22 examples, 2 deleted")
        );
        assert!(list(corpus.run(&format!("store show 1 --store {store}"))).contains("current"));
        assert_eq!(corpus.night(store).ok().resumed(), 6, "{name}");
        let shown = list(corpus.run(&format!("store show 2 --store {store}")));
        assert!(shown.contains("graft 1"), "{shown}");
        corpus.run(&format!("store promote 2 --force --store {store}")).ok();
        corpus.run(&format!("store rollback --store {store}")).ok();
        let export = format!("store export 1 --to gguf --model tiny.gguf --out {name}.gguf --store {store}");
        corpus.run(&export).ok();
        assert_near(corpus.eval(&format!("{name}.gguf")), 6.098_182_956_988_995);
        assert!(list(corpus.run(&format!("store verify --store {store}"))).contains("nothing is damaged"));
    }
    fs::write(corpus.path("other"), "1".repeat(64)).unwrap();
    assert!(!corpus.run("store list --store encrypted --key-file other").success);
}

/// A file's sealing says a version that is to come: bytes 8 to 12, which stand before what is checked.
fn set_later_version(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[8..12].copy_from_slice(&900u32.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// The content of a plain sealed file changed, and sealed again.
fn rewrite(path: &Path, role: &'static str, change: impl FnOnce(&mut Vec<u8>)) {
    let vault = Vault::plain(file_system::system());
    let mut bytes = vault.read(path, role, 1 << 30).unwrap();
    change(&mut bytes);
    vault.write(path, role, &bytes).unwrap();
}

/// It is refused and says so by the version; no file of the folder is gone, and those named below stay as they are. What
/// the store keeps of itself may be brought to the present version, or not: another file is the one that cannot be read.
fn assert_refused_and_kept(corpus: &Corpus, folder: &str, later: &str, ran: impl FnOnce() -> RunOutput) {
    let before = corpus.files(folder);
    let ran = ran();
    assert!(!ran.success, "{later}: {}{}", ran.out, ran.err);
    assert!(ran.err.contains("version 900"), "{later}: {}", ran.err);
    let after = corpus.files(folder);
    for (path, bytes) in before {
        let now = after.get(&path).unwrap_or_else(|| panic!("{later}: {} is gone", path.display()));
        // A plan is given the date that it was made on.
        let is_own = ["store.ngs", "current.ngs", "session.ngs", "base.json", "metrics.jsonl", "config.toml"];
        let may_change = !path.ends_with(later) && is_own.iter().any(|name| path.ends_with(name));
        assert!(may_change || *now == bytes, "{later}: {} was changed", path.display());
    }
}

#[test]
fn a_checkpoint_of_a_later_version_is_refused_and_stays() {
    let checkpoint = "stopped/checkpoints/step-00000008.ngck";
    let corpus = Corpus::new();
    rewrite(&corpus.path(checkpoint), "checkpoint", |bytes| {
        bytes[..4].copy_from_slice(&900u32.to_le_bytes())
    });
    assert_refused_and_kept(&corpus, "stopped", checkpoint, || corpus.train(STOPPED));
    let corpus = Corpus::new();
    set_later_version(&corpus.path(checkpoint));
    assert_refused_and_kept(&corpus, "stopped", checkpoint, || corpus.train(STOPPED));
}

#[test]
fn a_store_of_a_later_version_is_refused_and_stays() {
    let corpus = Corpus::new();
    rewrite(&corpus.path("plain/store.ngs"), "store", |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = text.replace(r#""version":1"#, r#""version":900"#).into_bytes();
    });
    assert_refused_and_kept(&corpus, "plain", "store.ngs", || corpus.night("plain"));
    for file in ["store.ngs", "session/session.ngs", "session/step-00000006.ngck"] {
        let corpus = Corpus::new();
        set_later_version(&corpus.path("plain").join(file));
        assert_refused_and_kept(&corpus, "plain", file, || corpus.night("plain"));
    }
    // Told at once or where it is needed.
    for (file, needed) in [
        ("grafts/00000001.ngs", "store show 1 --store plain"),
        ("journal/00000001-00000001.ngs", "journal list --store plain"),
    ] {
        let corpus = Corpus::new();
        set_later_version(&corpus.path("plain").join(file));
        assert_refused_and_kept(&corpus, "plain", file, || corpus.run(needed));
    }
}
