//! Stores as a whole: what they keep, what they notice, what they survive.
#![allow(clippy::unwrap_used, clippy::panic)]

mod damage;
mod examples;
mod faults;
mod foreign;
mod grafts;
mod owner;
mod privacy;
mod put_back;
mod reader;
mod rotation;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_gguf::Fingerprint;
use nightgraft_policy::gate::{GateReport, GateRules, ModelLosses, judge};
use nightgraft_testing::{folder, thinning};

use super::*;
use crate::Error;

/// Why the store refuses it.
fn why_not<T: std::fmt::Debug>(result: Result<T>) -> StoreProblem {
    match result {
        Err(Error::Refused { problem, .. }) => problem,
        other => unreachable!("{other:?}"),
    }
}

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

fn with_key(byte: Option<u8>) -> StoreOptions {
    StoreOptions { key: byte.map(key), seed: Some(7), ..StoreOptions::default() }
}

fn open(root: &Path) -> Store {
    Store::open(root, with_key(None)).unwrap()
}

fn line(text: &str) -> String {
    serde_json::json!({ "text": text }).to_string()
}

fn lines(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| line(text)).collect()
}

fn texts(store: &Store) -> Vec<(u64, String)> {
    store.examples().iter().map(|example| (example.id.0, example.line.clone())).collect()
}

fn set(ids: &[u64]) -> IdSet {
    ids.iter().copied().collect()
}

fn base(byte: char) -> Fingerprint {
    Fingerprint::from_hex(&byte.to_string().repeat(64)).unwrap()
}

fn report(promote: bool) -> GateReport {
    let nothing = ModelLosses::default();
    GateReport { promote, ..judge(&GateRules::default(), &nothing, None, &nothing, 3) }
}

fn new_graft(trained_on: &[u64], promote: bool) -> NewGraft {
    NewGraft {
        base: base('a'),
        parent: None,
        trained_on: set(trained_on),
        steps: 40,
        best_step: 30,
        tokens: 12_345,
        settings: "rank = 2\n".into(),
        gate: report(promote),
    }
}

/// An adapter whose numbers all are `value`.
fn adapter(value: f32) -> AdapterTensors {
    let spec = LoraSpec {
        rank: 2,
        alpha: 4.0,
        modules: vec![Module::AttnQ, Module::FfnDown],
        layers: 0..2,
        dropout: 0.0,
    };
    let pair = |n_in, n_out| LoraPair {
        rank: 2,
        n_in,
        n_out,
        a: vec![value; 2 * n_in],
        b_t: vec![value; 2 * n_out],
    };
    AdapterTensors {
        spec,
        pairs: [((0, Module::AttnQ), pair(40, 30)), ((1, Module::FfnDown), pair(20, 50))].into(),
    }
}

/// Every file below a folder, sorted.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The files that hold `text`, and those that have it in their names.
fn files_with(root: &Path, text: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let name = path.as_os_str().as_encoded_bytes();
        [name, &fs::read(path).unwrap()]
            .iter()
            .any(|bytes| bytes.windows(text.len()).any(|part| part == text))
    };
    files(root).into_iter().filter(holds).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// A store with something of every kind: examples 1 to 6 of which 2 is deleted, grafts 1 (former), 2 (current) and 3
/// (refused), a session, a usage document.
fn furnish(root: &Path, key: Option<u8>) {
    let mut store = Store::open(root, with_key(key)).unwrap();
    store.add(&lines(&["one kite", "two kites"])).unwrap();
    store.add(&lines(&["three kites"])).unwrap();
    store.add(&lines(&["four kites", "five kites", "six kites"])).unwrap();
    store.delete(&[ExampleId(2)]).unwrap();
    for (id, promote) in [(1, true), (2, true), (3, false)] {
        let parent = (id > 1).then_some(GraftId(1));
        let graft = NewGraft { parent, ..new_graft(&[id], promote) };
        assert_eq!(store.add_graft(graft, &adapter(id as f32 / 4.0)).unwrap(), GraftId(id));
        if promote {
            store.promote(GraftId(id)).unwrap();
        }
    }
    store
        .write_document("session", &serde_json::json!({ "train": set(&[4, 5]), "held_out": set(&[6]) }))
        .unwrap();
    store.write_document("usage", &vec![1, 2, 3]).unwrap();
    let checkpoint = store.session_folder().join("step-00000004.ngck");
    store.vault().write(&checkpoint, crate::checkpoint::ROLE, &[9; 5000]).unwrap();
    assert!(store.verify().unwrap().is_valid());
}

/// All that a store says of itself, but for times.
#[derive(Debug, Clone, PartialEq)]
struct View {
    examples: Vec<(u64, String)>,
    deleted: IdSet,
    grafts: Vec<(GraftId, GraftStatus, IdSet, Vec<ExampleId>)>,
    adapters: Vec<AdapterTensors>,
    current: Option<GraftId>,
    documents: Vec<Option<serde_json::Value>>,
    checkpoints: usize,
    seed: u64,
}

fn view(store: &Store) -> View {
    let grafts = store.grafts().unwrap();
    View {
        examples: texts(store),
        deleted: store.deleted().clone(),
        adapters: grafts.iter().map(|entry| store.graft(entry.id).unwrap().adapter).collect(),
        grafts: grafts
            .into_iter()
            .map(|entry| (entry.id, entry.status, entry.meta.unwrap().trained_on, entry.trained_on_deleted))
            .collect(),
        current: store.current().unwrap(),
        documents: ["session", "usage"].map(|name| store.read_document(name).unwrap()).into(),
        checkpoints: fs::read_dir(store.session_folder()).unwrap().count(),
        seed: store.seed(),
    }
}
