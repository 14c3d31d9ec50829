//! A model file that is cut short, written to, replaced or removed while it is in use: an error that names it, everything
//! saved, no signal, and the same bytes in the end once the file is back.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nightgraft_core::config::TrainConfig;
use nightgraft_core::session::{self, DeviceOptions, Event, Outcome, RequestedShape, StopFlag, TrainRequest};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};

use crate::night::Sandbox;

/// What becomes of a file.
type Change = fn(&Path);

/// What becomes of the file, and what the message says of it.
const CHANGES: [(Change, &str); 5] = [
    (|model| truncate(model, fs::metadata(model).unwrap().len() / 3), "bytes and has"),
    (|model| truncate(model, 0), "bytes and has 0"),
    (overwrite_second_half, "it was written to"),
    (replace, "another file has taken its place"),
    (|model| fs::remove_file(model).unwrap(), "it was removed"),
];

fn truncate(model: &Path, len: u64) {
    OpenOptions::new().write(true).open(model).unwrap().set_len(len).unwrap();
}

/// The weights in the second half become others.
fn overwrite_second_half(model: &Path) {
    let mut file = OpenOptions::new().write(true).open(model).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(len / 2)).unwrap();
    file.write_all(&vec![0x55; (len / 2) as usize]).unwrap();
}

/// By a model of the same sizes.
fn replace(model: &Path) {
    let other = model.with_extension("other");
    TinyModel { seed: 2, ..tiny() }.write(&other).unwrap();
    fs::rename(other, model).unwrap();
}

fn tiny() -> TinyModel {
    TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) }
}

/// Puts the model of a [`Sandbox`] back, as a file with other times and another number.
fn restore(model: &Path) {
    let fresh = model.with_extension("fresh");
    tiny().write(&fresh).unwrap();
    fs::rename(fresh, model).unwrap();
}

/// Reads the child's events until one of this name comes.
fn wait_for(event: &str, child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.contains(&format!("\"event\":\"{event}\"")) {
            return lines;
        }
        line.clear();
    }
    panic!("no {event}");
}

/// What the child says and how it ends, after all that it has still to print.
fn wait_for_exit(mut child: Child, mut rest: impl Read) -> (String, Option<i32>, String) {
    // A tiny model writes bytes that are no text.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    rest.read_to_end(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut err).unwrap();
    let [out, err] = [out, err].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), None, "{err}");
    (out, status.code(), err)
}

fn assert_names(err: &str, model: &Path, what: &str) {
    let message = err.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(message.contains(model.to_str().unwrap()) && message.contains(what), "{what}: {err}");
}

fn piped(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn train(sandbox: &Sandbox, out: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    command.args(["train", "--json", "--model"]).arg(sandbox.path("tiny.gguf"));
    command.arg("--data").arg(sandbox.path("notes.jsonl")).arg("--out").arg(sandbox.path(out));
    command.args(["--epochs", "6", "--lr", "1e-3", "--dropout", "0.1", "--batch-tokens", "64"]);
    // Saved at the end and when it is stopped, so that what is there was saved because the model changed.
    command.args(["--context", "64", "--accumulate", "2", "--checkpoint-every", "1000", "--threads", "2"]);
    command.stdin(Stdio::null());
    command
}

fn adapter(sandbox: &Sandbox, out: &str) -> Vec<u8> {
    fs::read(sandbox.path(out).join("adapter/adapter_model.safetensors")).unwrap()
}

#[test]
fn a_run_whose_model_changes_is_saved_and_goes_on_with_the_right_file() {
    let sandbox = Sandbox::tiny();
    let model = sandbox.path("tiny.gguf");
    assert!(train(&sandbox, "straight").output().unwrap().status.success());
    for (i, (change, what)) in CHANGES.into_iter().enumerate() {
        let out = format!("changed-{i}");
        let mut child = piped(train(&sandbox, &out));
        let rest = wait_for("step", &mut child);
        change(&model);
        let (events, code, err) = wait_for_exit(child, rest);
        assert_eq!(code, Some(1), "{err}");
        assert_names(&err, &model, what);
        assert!(events.contains("\"event\":\"saved\""), "{events}");

        restore(&model);
        let again = train(&sandbox, &out).output().unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        assert!(String::from_utf8_lossy(&again.stdout).contains("\"event\":\"resumed\""));
        assert_eq!(adapter(&sandbox, "straight"), adapter(&sandbox, &out), "{what}");
    }
}

#[test]
fn cut_short_at_random_moments_it_ends_in_the_same_bytes() {
    let sandbox = Sandbox::tiny();
    let model = sandbox.path("tiny.gguf");
    let len = fs::metadata(&model).unwrap().len();
    assert!(train(&sandbox, "straight").output().unwrap().status.success());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut cuts = 0;
    for _ in 0..200 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let child = piped(train(&sandbox, "cut"));
        std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 200));
        truncate(&model, (random >> 40) % len);
        let output = child.wait_with_output().unwrap();
        restore(&model);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), None, "{err}");
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(model.to_str().unwrap()), "{err}");
        cuts += 1;
    }
    assert!(train(&sandbox, "cut").output().unwrap().status.success());
    assert!(cuts >= 3, "only {cuts} cuts before the end");
    assert_eq!(adapter(&sandbox, "straight"), adapter(&sandbox, "cut"));
}

#[test]
fn a_slice_whose_model_changes_is_saved_and_goes_on_with_the_right_file() {
    let sandbox = Sandbox::tiny();
    let model = sandbox.path("tiny.gguf");
    sandbox.whole_night("straight", &["--checkpoint-every=1000"]);
    let expected = sandbox.graft("straight", &[]);
    // While it trains, and while the gate measures.
    for (i, (change, what)) in CHANGES.into_iter().enumerate() {
        for event in ["step", "judging"] {
            let store = format!("{event}-{i}");
            let mut child = piped(sandbox.night(&store, &["--checkpoint-every=1000"]));
            let rest = wait_for(event, &mut child);
            change(&model);
            let (events, code, err) = wait_for_exit(child, rest);
            assert_eq!(code, Some(1), "{event}: {err}");
            assert_names(&err, &model, what);
            assert!(event != "step" || events.contains("\"event\":\"saved\""), "{events}");

            restore(&model);
            let events = sandbox.whole_night(&store, &["--checkpoint-every=1000"]);
            assert!(events.iter().any(|event| event["event"] == "resumed"), "{event}, {what}");
            assert!(sandbox.graft(&store, &[]) == expected, "{event}, {what}: another adapter");
        }
    }
}

/// Deep enough that generating takes a while.
fn deep() -> TinyModel {
    TinyModel { n_layer: 64, ..tiny() }
}

fn generate(model: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
    command.args([
        "generate",
        "--prompt",
        "a",
        "--temperature",
        "0.9",
        "--max-tokens",
        "100",
        "--threads",
        "2",
    ]);
    command.arg("--model").arg(model).stdin(Stdio::null());
    command
}

#[test]
fn an_answer_whose_model_changes_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("deep.gguf");
    for (change, what) in CHANGES {
        deep().write(&model).unwrap();
        let mut child = piped(generate(&model));
        let mut text = child.stdout.take().unwrap();
        text.read_exact(&mut [0]).unwrap();
        change(&model);
        let (_, code, err) = wait_for_exit(child, text);
        assert_eq!(code, Some(1), "{what}: {err}");
        assert_names(&err, &model, what);
    }
}

/// While llama.cpp loads the file, and after some of the answer's bytes. Each cut gives an error that names the file, or, where
/// it came after the last look at it, the very text of a file that was left alone.
#[test]
fn a_model_that_is_cut_short_at_any_moment_of_an_answer_kills_nobody() {
    const CUTS: u32 = 9;
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("deep.gguf");
    let kinds = [WeightType::Q4_0, WeightType::Q4_1, WeightType::Q8_0];
    let whole = kinds.map(|kind| {
        TinyModel { kind, ..deep() }.write(&model).unwrap();
        let began = Instant::now();
        let mut child = piped(generate(&model));
        let mut out = child.stdout.take().unwrap();
        let mut text = vec![0];
        out.read_exact(&mut text).unwrap();
        let loading = began.elapsed();
        out.read_to_end(&mut text).unwrap();
        assert!(child.wait().unwrap().success());
        (kind, loading, text)
    });
    let truncation_is_reported =
        |kind: WeightType, text: &[u8], i: u32, wait: &dyn Fn(&mut dyn Read) -> Vec<u8>| {
            TinyModel { kind, ..deep() }.write(&model).unwrap();
            let mut child = piped(generate(&model));
            let mut out = child.stdout.take().unwrap();
            let mut given = wait(&mut out);
            truncate(&model, 4096 * (1 + u64::from(i)));
            out.read_to_end(&mut given).unwrap();
            let output = child.wait_with_output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), None, "cut {i}: {err}");
            if output.status.success() {
                assert!(given == text, "cut {i}: another answer");
                return false;
            }
            assert_eq!(output.status.code(), Some(1), "cut {i}: {err}");
            let message = err.lines().last().unwrap_or_default();
            assert!(message.contains(model.to_str().unwrap()), "cut {i}: {err}");
            true
        };
    let mut told = 0;
    for (i, (kind, loading, text)) in (0..CUTS).zip(whole.iter().cycle()) {
        let part = f64::from(i) / f64::from(CUTS);
        truncation_is_reported(*kind, text, i, &|_| {
            std::thread::sleep(loading.mul_f64(part));
            Vec::new()
        });
        told += u32::from(truncation_is_reported(*kind, text, i, &|out| {
            let mut given = vec![0; (text.len() as f64 * part / 2.0) as usize];
            out.read_exact(&mut given).unwrap();
            given
        }));
    }
    assert!(told >= CUTS - 2, "only {told} of {CUTS} cuts of an answer were told");
}

/// Changes one byte that the fingerprint does not look at.
fn damage(model: &Path) {
    let bytes = fs::read(model).unwrap();
    let fingerprint = || session::inspect(model).unwrap().fingerprint;
    let before = fingerprint();
    let unseen = (bytes.len() / 2..bytes.len()).step_by(1000).any(|at| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        fs::write(model, bytes).unwrap();
        fingerprint() == before
    });
    assert!(unseen);
}

#[test]
fn a_file_with_the_same_fingerprint_and_other_bytes_is_found_out() {
    let sandbox = Sandbox::tiny();
    // Larger than what the samples cover.
    let model = sandbox.path("tiny.gguf");
    let larger = TinyModel { n_layer: 8, ..tiny() };
    larger.write(&model).unwrap();
    let inspect = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nightgraft"));
        let output = command.args(["inspect", "--json", "--verify"]).arg(&model).output().unwrap();
        let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        ["fingerprint", "sha256"].map(|key| info[key].as_str().unwrap().to_owned())
    };
    let whole = inspect();
    damage(&model);
    let damaged = inspect();
    assert_eq!(whole[0], damaged[0], "the damage is where no sample is");
    assert_ne!(whole[1], damaged[1]);
    larger.write(&model).unwrap();
    assert!(train(&sandbox, "straight").output().unwrap().status.success());
    sandbox.whole_night("straight-night", &[]);

    let what = "are not those that it was used with before";
    // Once all of the model has been hashed, it goes away for a while.
    let stop = |mut child: Child, noted: &dyn Fn() -> bool| {
        let rest = wait_for("step", &mut child);
        while !noted() {
            assert!(child.try_wait().unwrap().is_none(), "it is over, and nothing was noted");
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::rename(&model, model.with_extension("away")).unwrap();
        let (_, code, err) = wait_for_exit(child, rest);
        assert_eq!(code, Some(1), "{err}");
        fs::rename(model.with_extension("away"), &model).unwrap();
    };
    let refused = |output: std::process::Output| {
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.signal(), output.status.code()), (None, Some(1)), "{err}");
        assert_names(&err, &model, what);
    };
    let note = || fs::read_to_string(sandbox.path("out/base.json")).is_ok_and(|note| note.contains("sha256"));
    stop(piped(train(&sandbox, "out")), &note);
    stop(piped(sandbox.night("store", &[])), &|| sandbox.path("store/models.ngs").exists());
    let verify = || sandbox.store(&["verify", "--model", model.to_str().unwrap()], "store");
    assert!(verify().status.success());
    damage(&model);
    refused(verify());
    refused(train(&sandbox, "out").output().unwrap());
    refused(sandbox.night("store", &[]).output().unwrap());
    larger.write(&model).unwrap();
    assert!(train(&sandbox, "out").output().unwrap().status.success());
    assert_eq!(adapter(&sandbox, "straight"), adapter(&sandbox, "out"));
    sandbox.whole_night("store", &[]);
    assert!(sandbox.graft("store", &[]) == sandbox.graft("straight-night", &[]));
}

/// A run of two steps on a model most of which is a hole, which nobody hashes to its end in a test's time.
fn request_on_sparse_model(sandbox: &Sandbox) -> TrainRequest {
    truncate(&sandbox.path("tiny.gguf"), 1 << 40);
    let mut config = TrainConfig::default();
    config.run.steps = Some(2);
    config.run.eval_every = 0.into();
    TrainRequest {
        memory_limit: None,
        curve: None,
        devices: DeviceOptions::default(),
        model: sandbox.path("tiny.gguf"),
        data: sandbox.path("notes.jsonl"),
        format: None,
        valid: None,
        out: sandbox.path("out"),
        init_adapter: None,
        requested_shape: RequestedShape::default(),
        config,
    }
}

/// Stops a run at a step; gives how far it came, and what it warned of.
fn stopped_at(step: u64, request: &TrainRequest) -> (u64, Vec<String>) {
    let (stop, mut warnings) = (StopFlag::new(), Vec::new());
    let report = session::train(request, &stop, &mut |event| {
        if matches!(event, Event::Step(metrics) if metrics.step == step) {
            stop.raise();
        }
        warnings.extend(event.warning());
    });
    let report = report.unwrap();
    assert_eq!(report.outcome, Outcome::Interrupted);
    (report.steps, warnings)
}

#[test]
fn a_stop_does_not_wait_until_all_of_the_model_was_read() {
    let sandbox = Sandbox::tiny();
    let request = request_on_sparse_model(&sandbox);
    assert_eq!(stopped_at(2, &request), (2, Vec::new()));
    assert!(!fs::read_to_string(sandbox.path("out/base.json")).unwrap().contains("sha256"));
    assert!(sandbox.path("out/checkpoints/step-00000002.ngck").exists());
}

/// Nothing that comes from a model is kept before that is known to be the run's; what was kept before stays.
#[test]
fn a_stop_does_not_wait_until_the_model_is_known_again() {
    let sandbox = Sandbox::tiny();
    let request = request_on_sparse_model(&sandbox);
    assert_eq!(stopped_at(1, &request), (1, Vec::new()));
    let path = sandbox.path("out/base.json");
    let mut note: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    note["whole"] = serde_json::json!({
        "fingerprint": note["fingerprint"], "sha256": "9e".repeat(32),
        "len": 1, "modified_ns": 1, "inode": 1, "device": 1,
    });
    fs::write(&path, note.to_string()).unwrap();
    let (steps, warnings) = stopped_at(2, &request);
    assert_eq!(steps, 2);
    assert!(matches!(&warnings[..], [told] if told.contains("goes on after step 1")), "{warnings:?}");
    assert!(sandbox.path("out/checkpoints/step-00000001.ngck").exists());
    assert!(!sandbox.path("out/checkpoints/step-00000002.ngck").exists());
}

/// An adapter is read at once, and nobody minds what becomes of it then.
#[test]
fn an_adapter_may_be_written_anew_while_it_is_in_use() {
    let sandbox = Sandbox::tiny();
    assert!(train(&sandbox, "straight").output().unwrap().status.success());
    let model = sandbox.path("tiny.gguf");
    for adapter in ["straight/adapter/adapter_model.safetensors", "straight/adapter.gguf"] {
        let adapter: PathBuf = sandbox.path(adapter);
        let mut command = train(&sandbox, "second");
        let mut child = piped({
            command.arg("--init-adapter").arg(&adapter).args(["--resume", "never"]);
            command
        });
        let rest = wait_for("step", &mut child);
        truncate(&adapter, 100);
        let (_, code, err) = wait_for_exit(child, rest);
        assert_eq!(code, Some(0), "{err}");
    }
    assert!(model.is_file());
}
