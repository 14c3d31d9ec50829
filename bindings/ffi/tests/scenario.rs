//! The scenario that all languages play, in Rust: on the real model that `NIGHTGRAFT_SMOLLM2` names.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nightgraft_ffi::{
    AdapterStore, BaseModel, ChatOptions, Example, Generator, GraftFormat, GraftStatus, ListenerError,
    Message, NightgraftError, PauseReason, PersonalizationSession, Phase, Planner, Progress,
    ProgressListener, SessionSettings, SliceOutcome, StoreSettings, published_models, verify_model,
};
use pollster::block_on;
use serde_json::Value;

const KEY: [u8; 32] = *b"a made-up key of thirty-two byte";

/// Stops its session once so many steps are made.
struct StopAfterStep {
    session: Mutex<Option<Arc<PersonalizationSession>>>,
    after: u64,
    seen: Mutex<Vec<Progress>>,
}

impl ProgressListener for StopAfterStep {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        if progress.step >= self.after
            && let Some(session) = self.session.lock().unwrap().take()
        {
            session.stop();
        }
        self.seen.lock().unwrap().push(progress);
        Ok(())
    }
}

struct Scenario {
    json: Value,
    examples: Vec<Example>,
}

impl Scenario {
    fn read() -> Self {
        let folder = Path::new("../../tests/data/scenario");
        let notes = std::fs::read_to_string(folder.join("notes.jsonl")).unwrap();
        let example = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let turn = |turn: &Value| Message {
                role: turn["role"].as_str().unwrap().into(),
                content: turn["content"].as_str().unwrap().into(),
            };
            Example::Chat { messages: line["messages"].as_array().unwrap().iter().map(turn).collect() }
        };
        let json = std::fs::read_to_string(folder.join("scenario.json")).unwrap();
        Self { json: serde_json::from_str(&json).unwrap(), examples: notes.lines().map(example).collect() }
    }

    fn settings(&self) -> SessionSettings {
        let json = &self.json["settings"];
        let whole = |name: &str| json[name].as_u64().unwrap();
        let small = |name: &str| u32::try_from(whole(name)).unwrap();
        SessionSettings {
            rank: small("rank"),
            alpha: json["alpha"].as_f64().unwrap() as f32,
            layers: json["layers"].as_str().unwrap().into(),
            learning_rate: json["learning_rate"].as_f64(),
            epochs: small("epochs"),
            context: small("context"),
            batch_tokens: Some(small("batch_tokens")),
            held_out: json["held_out"].as_f64().unwrap() as f32,
            checkpoint_every: small("checkpoint_every"),
            seed: whole("seed"),
            threads: Some(small("threads")),
            ..SessionSettings::default()
        }
    }

    fn store(&self, folder: &Path) -> Arc<AdapterStore> {
        let seed = self.json["store_seed"].as_u64();
        let settings = StoreSettings { key: Some(KEY.to_vec()), seed, ..StoreSettings::default() };
        block_on(AdapterStore::open(folder.display().to_string(), settings)).unwrap()
    }
}

#[test]
fn the_catalogue_says_what_the_real_model_is() {
    let path = std::env::var("NIGHTGRAFT_SMOLLM2").expect("NIGHTGRAFT_SMOLLM2 names the real model");
    let published = published_models().into_iter().find(|model| model.name == "smollm2-135m").unwrap();
    block_on(verify_model(path.clone(), published.bytes, published.sha256, None)).unwrap();
    let model = block_on(BaseModel::open(path)).unwrap();
    assert_eq!(model.info().context, Some(published.context));
    let settings = SessionSettings { batch_tokens: Some(256), ..SessionSettings::default() };
    let plan = block_on(Planner::new(model).memory(settings)).unwrap();
    // What a processor with other instructions computes in may differ.
    let published = published.memory_to_train.unwrap() as f64;
    assert!((plan.needed as f64 / published - 1.0).abs() < 0.25, "{} is not {published}", plan.needed);
}

#[test]
fn a_graft_from_the_first_note_to_the_export() {
    let model = std::env::var("NIGHTGRAFT_SMOLLM2").expect("NIGHTGRAFT_SMOLLM2 names the real model");
    let scenario = Scenario::read();
    let folder = tempfile::tempdir().unwrap();
    let store_folder = folder.path().join("store");
    let model = block_on(BaseModel::open(model)).unwrap();

    let after = scenario.json["stop_after_step"].as_u64().unwrap();
    let store = scenario.store(&store_folder);
    let ids = block_on(store.add(scenario.examples.clone())).unwrap();
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    let session =
        block_on(PersonalizationSession::open(model.clone(), store.clone(), scenario.settings())).unwrap();
    let stopper =
        Arc::new(StopAfterStep { session: Mutex::new(Some(session.clone())), after, seen: Mutex::default() });
    let outcome = block_on(session.run_slice(None, Some(stopper.clone()))).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Stopped });
    let seen = stopper.seen.lock().unwrap().clone();
    assert_eq!(seen.last().unwrap().phase, Phase::Paused);
    assert!(
        seen.last().unwrap().step >= after && seen.last().unwrap().step < seen.last().unwrap().total_steps
    );
    block_on(session.release()).unwrap();
    block_on(store.release()).unwrap();

    for key in [Some(vec![1; 32]), None] {
        let wrong = StoreSettings { key, ..StoreSettings::default() };
        let error = block_on(AdapterStore::open(store_folder.display().to_string(), wrong)).err().unwrap();
        assert!(matches!(error, NightgraftError::WrongKey { .. }), "{error}");
    }

    let store = scenario.store(&store_folder);
    let session =
        block_on(PersonalizationSession::open(model.clone(), store.clone(), scenario.settings())).unwrap();
    let SliceOutcome::Finished { report } = block_on(session.run_slice(None, None)).unwrap() else {
        panic!("not finished")
    };
    assert!(report.promoted, "{}", report.verdict.text);
    assert_eq!(session.report().as_ref(), Some(&report));
    let graft = report.graft.unwrap();
    assert_eq!(block_on(store.current()).unwrap(), Some(graft));

    let generator = block_on(Generator::open(model.clone(), Some(2))).unwrap();
    let question = scenario.json["question"].as_str().unwrap();
    let max_tokens = u32::try_from(scenario.json["max_tokens"].as_u64().unwrap()).unwrap();
    let ask = || {
        let turn = Message { role: "user".into(), content: question.into() };
        let options = ChatOptions { max_tokens, ..ChatOptions::default() };
        block_on(generator.chat(vec![turn], options, None)).unwrap().text
    };
    let before = ask();
    assert_eq!(block_on(generator.use_current(store.clone())).unwrap(), Some(graft));
    let after = ask();
    assert!(after.starts_with("Keeper's note."), "{after:?}");
    assert_ne!(before, after);
    block_on(generator.use_base()).unwrap();
    assert_eq!(ask(), before, "without the graft it answers as before");

    let out = std::env::var_os("NIGHTGRAFT_SCENARIO_OUT").map_or(folder.path().join("out"), PathBuf::from);
    std::fs::create_dir_all(&out).unwrap();
    let out = out.join("rust");
    block_on(store.export(graft, GraftFormat::Peft, model, out.display().to_string())).unwrap();
    assert!(out.join("adapter_model.safetensors").metadata().unwrap().len() > 100_000);

    let delete = scenario.json["delete"].as_u64().unwrap();
    let deleted = block_on(store.delete(vec![delete])).unwrap();
    assert_eq!((deleted.deleted, deleted.marked_grafts), (vec![delete], vec![graft]));
    let grafts = block_on(store.grafts()).unwrap();
    assert_eq!((grafts[0].status, grafts[0].saw_deleted.clone()), (GraftStatus::Current, vec![delete]));
    assert_eq!(block_on(store.examples()).unwrap().len(), 39);
}
