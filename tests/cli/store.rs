//! `store` and `journal`: what a person does with what a night has left.

use std::{fs, path::Path};

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_gguf::Fingerprint;
use nightgraft_policy::gate::{GateReport, GateRules, ModelLosses, judge};
use nightgraft_store::{GraftId, IdSet, Key, NewGraft, Store, StoreOptions};
use nightgraft_tiny_model::N_EMBD;

use super::{Sandbox, files};

const CANARY: &str = "albatross";

fn write_examples(sandbox: &Sandbox) {
    let line = |text: &str| format!("{}\n", serde_json::json!({ "text": text }));
    let lines = ["the heron waits", CANARY, "the stork clatters"].map(line).concat();
    fs::write(sandbox.path("birds.jsonl"), lines).unwrap();
}

/// Two grafts for the sandbox's model, the second refused by the gate; the first is in use.
fn add_grafts(sandbox: &Sandbox, root: &Path) {
    let model = fs::read(sandbox.path("model.gguf")).unwrap();
    let base = Fingerprint::of(&model, nightgraft_gguf::parse(&model).unwrap().data_offset);
    let (n_out, n_in) = (N_EMBD, N_EMBD);
    let spec = LoraSpec { rank: 2, alpha: 4.0, modules: vec![Module::AttnQ], layers: 0..1, dropout: 0.0 };
    let pair = LoraPair { rank: 2, n_in, n_out, a: vec![0.25; 2 * n_in], b_t: vec![0.5; 2 * n_out] };
    let adapter = AdapterTensors { spec, pairs: [((0, Module::AttnQ), pair)].into() };
    let nothing = ModelLosses::default();
    let mut store = Store::open(root, StoreOptions::default()).unwrap();
    for promote in [true, false] {
        let gate = GateReport { promote, ..judge(&GateRules::default(), &nothing, None, &nothing, 3) };
        let graft = NewGraft {
            base,
            parent: None,
            trained_on: IdSet::from_range(1, 2),
            steps: 40,
            best_step: 30,
            tokens: 1234,
            settings: "rank = 2\n".into(),
            gate,
        };
        store.add_graft(graft, &adapter).unwrap();
    }
    store.promote(GraftId(1)).unwrap();
}

fn contains(root: &Path, text: &str) -> bool {
    files(root).iter().any(|file| {
        let bytes = fs::read(root.join(file)).unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn examples_come_and_go() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    let root = sandbox.path("mine");
    sandbox.run("journal list --store mine").refuses(1, &["there is no store"]);
    assert_eq!(sandbox.run("journal add birds.jsonl --store mine").ok().out, "3 added, 0 known already\n");
    assert_eq!(sandbox.run("journal add birds.jsonl --store mine").ok().out, "0 added, 3 known already\n");
    let listed = sandbox.run("journal list --store mine").ok().out;
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(listed.contains("text") && !listed.contains(CANARY), "{listed}");
    assert!(sandbox.run("journal list --store mine --show").ok().out.contains(CANARY));
    let json = sandbox.run("journal list --store mine --json --show").ok().json();
    assert_eq!(json["examples"][1]["example"]["text"], CANARY);
    assert!(contains(&root, CANARY));

    add_grafts(&sandbox, &root);
    let deleted = sandbox.run("journal delete 2 99 --store mine --json").ok().json();
    let expected = serde_json::json!({ "deleted": [2], "marked_grafts": [1, 2], "session_dropped": false });
    assert_eq!(deleted, expected);
    assert!(!contains(&root, CANARY));
    let json = sandbox.run("journal list --store mine --json").ok().json();
    assert_eq!(
        (json["examples"].as_array().unwrap().len(), &json["deleted"]),
        (2, &serde_json::json!([[2, 2]]))
    );
    assert!(sandbox.run("journal compact --store mine").ok().out.starts_with("the store takes"));
    assert_eq!(
        sandbox.run("store list --store mine --json").ok().json()[0]["saw_deleted"],
        serde_json::json!([2])
    );

    fs::write(sandbox.path("bad.jsonl"), format!("{{\"txt\": \"{CANARY}\"}}\n")).unwrap();
    let bad = sandbox.run("journal add bad.jsonl --store mine");
    assert!(!bad.err.contains(CANARY));
    bad.refuses(1, &["bad.jsonl:1", "none of the known shapes"]);
}

#[test]
fn what_is_forgotten_is_in_no_graft_and_what_is_left_can_be_taken_along() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    let root = sandbox.path("mine");
    sandbox.run("journal add birds.jsonl --store mine").ok();
    add_grafts(&sandbox, &root);
    assert!(root.join("grafts/00000001.ngs").exists());
    let forgotten = sandbox.run("journal forget 2 --store mine --json").ok().json();
    let expected = serde_json::json!({
        "deleted": [2], "deleted_grafts": [1, 2], "current": null, "session_dropped": false
    });
    assert_eq!(forgotten, expected);
    assert!(!contains(&root, CANARY));
    assert_eq!(sandbox.run("store list --store mine").ok().out, "no grafts\n");
    let again = sandbox.run("journal forget 2 --store mine").ok().out;
    assert_eq!(again, "0 deleted\nthe base model is in use, without a graft\n");

    let exported = sandbox.run("journal export --out taken.jsonl --store mine").ok().out;
    assert!(exported.starts_with("2 examples written to "), "{exported}");
    assert_eq!(sandbox.run("journal add taken.jsonl --store other").ok().out, "2 added, 0 known already\n");
    sandbox.run("journal export --out mine/taken.jsonl --store mine").refuses(1, &["outside of it"]);
}

#[test]
fn a_store_is_destroyed_and_nothing_else() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    fs::write(sandbox.path("key"), [7; 32]).unwrap();
    sandbox.run("journal add birds.jsonl --store mine --key-file key").ok();
    fs::create_dir(sandbox.path("thesis")).unwrap();
    fs::write(sandbox.path("thesis/thesis.tex"), "years of work").unwrap();
    sandbox.run("store destroy --store thesis").refuses(1, &["the folder is not a store"]);
    assert_eq!(files(&sandbox.path("thesis")), ["thesis.tex"]);
    let before = files(&sandbox.path("mine")).len();
    let destroyed = sandbox.run("store destroy --store mine --json").ok().json();
    assert_eq!(destroyed["removed"].as_array().unwrap().len(), before);
    assert_eq!(destroyed["left"], serde_json::json!([]));
    assert!(!sandbox.path("mine").exists());
    assert_eq!(sandbox.run("store destroy --store mine").ok().out, "0 files removed\n");
}

#[test]
fn grafts_are_switched_and_exported() {
    let sandbox = Sandbox::new();
    let root = sandbox.path("mine");
    write_examples(&sandbox);
    sandbox.run("journal add birds.jsonl --store mine").ok();
    add_grafts(&sandbox, &root);
    let listed = sandbox.run("store list --store mine").ok().out;
    let status: Vec<_> = listed.lines().skip(1).map(|row| row.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(status, ["current", "refused"], "{listed}");
    let shown = sandbox.run("store show 1 --store mine").ok().out;
    for part in ["status        current", "kept is step 30", "2: 1-2", "gate: promoted", "rank = 2"] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    sandbox.run("store show 9 --store mine").refuses(1, &["there is no graft 9"]);
    sandbox.run("store promote 2 --store mine").refuses(1, &["the gate refused graft 2"]);
    assert_eq!(sandbox.run("store promote 2 --force --store mine").ok().out, "graft 2 is in use\n");
    sandbox.run("store delete 2 --store mine").refuses(1, &["graft 2 is in use; roll back"]);
    assert_eq!(sandbox.run("store delete 2 --force --store mine").ok().out, "graft 1 is in use\n");
    assert_eq!(
        sandbox.run("store rollback --store mine --json").ok().json()["current"],
        serde_json::Value::Null
    );
    sandbox.run("store rollback --store mine").refuses(1, &["no graft is in use"]);

    sandbox.run("store export 1 --to gguf --model model.gguf --out a.gguf --store mine").ok();
    sandbox.run("store export 1 --to peft --model model.gguf --out a --store mine").ok();
    for adapter in ["a.gguf", "a"] {
        let args = format!("export --adapter {adapter} --to gguf --model model.gguf --out again.gguf");
        sandbox.run(&args).ok();
        let (first, again) = (fs::read(sandbox.path("a.gguf")), fs::read(sandbox.path("again.gguf")));
        assert_eq!(first.unwrap(), again.unwrap());
    }
    let other = nightgraft_tiny_model::TinyModel::new(nightgraft_kernels::WeightType::Q8_0);
    other.write(&sandbox.path("other.gguf")).unwrap();
    sandbox
        .run("store export 1 --to gguf --model other.gguf --out b.gguf --store mine")
        .refuses(1, &["graft 1 was trained on another model"]);
}

#[test]
fn damage_is_found_and_repaired() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    let root = sandbox.path("mine");
    sandbox.run("journal add birds.jsonl --store mine").ok();
    add_grafts(&sandbox, &root);
    let sound = sandbox.run("store verify --store mine").ok().out;
    assert!(sound.ends_with("nothing is damaged\n"), "{sound}");
    for (file, place) in [("journal/00000001-00000001.ngs", 60), ("grafts/00000001.ngs", 200)] {
        let path = root.join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= 4;
        fs::write(path, bytes).unwrap();
    }
    sandbox.run("journal list --store mine").refuses(1, &["00000001-00000001.ngs is damaged"]);
    let ran = sandbox.run("store verify --store mine");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("damaged: ")).count(), 2, "{}", ran.out);
    let repaired = sandbox.run("store verify --repair --store mine --json").ok().json();
    assert_eq!(repaired["repair"]["lost"].as_array().unwrap().len(), 2, "{repaired}");
    sandbox.run("store verify --store mine").ok();
    sandbox.run("store show 1 --store mine").refuses(1, &["there is no graft 1"]);
    assert_eq!(sandbox.run("journal add birds.jsonl --store mine").ok().out, "3 added, 0 known already\n");
}

#[test]
fn a_file_of_an_earlier_time_is_refused_by_name() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    fs::write(sandbox.path("key"), [7; 32]).unwrap();
    for (name, key) in [("plain", ""), ("encrypted", " --key-file key")] {
        let run = |args: &str| sandbox.run(&format!("{args} --store {name}{key}"));
        run("journal add birds.jsonl").ok();
        let segment = sandbox.path(name).join("journal/00000001-00000001.ngs");
        let earlier = fs::read(&segment).unwrap();
        run("journal delete 2").ok();
        fs::write(&segment, earlier).unwrap();
        let refused = run("journal list --show");
        assert!(!refused.err.contains(CANARY));
        refused.refuses(1, &["00000001-00000001.ngs", "an earlier version", "bring back the whole store"]);
        run("store list").refuses(1, &["00000001-00000001.ngs"]);
        for _ in 0..2 {
            let ran = run("store verify");
            assert_eq!(ran.code, 1);
            assert!(
                ran.out.contains("damaged: journal/00000001-00000001.ngs: it is not what"),
                "{}",
                ran.out
            );
        }
        run("store verify --repair").ok();
        run("store verify").ok();
        assert!(!run("journal list --show").ok().out.contains(CANARY));
    }
}

#[test]
fn a_key_hides_everything_and_can_be_changed() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    let root = sandbox.path("mine");
    fs::write(sandbox.path("old.key"), [7; 32]).unwrap();
    fs::write(sandbox.path("new.key"), format!("{}\n", "0a".repeat(32))).unwrap();
    fs::write(sandbox.path("bad.key"), "0a").unwrap();
    let add = sandbox.run("journal add birds.jsonl --store mine --key-file old.key").ok();
    assert_eq!(add.out, "3 added, 0 known already\n");
    assert!(!contains(&root, CANARY) && !contains(&root, "text"));
    sandbox.run("journal list --store mine").refuses(1, &["it is encrypted; give its key"]);
    sandbox.run("journal list --store mine --key-file new.key").refuses(1, &["the key does not open"]);
    sandbox.run("journal list --store mine --key-file bad.key").refuses(2, &["neither 32 bytes nor 64"]);
    sandbox.run("store rotate-key --new-key-file new.key --store mine --key-file old.key").ok();
    sandbox.run("journal list --store mine --key-file old.key").refuses(1, &["the key does not open"]);
    let shown = sandbox.run("journal list --show --store mine --key-file new.key").ok().out;
    assert!(shown.contains(CANARY));
    // The same command again, as after one that was killed.
    sandbox.run("store rotate-key --new-key-file new.key --store mine --key-file old.key").ok();
    sandbox.run("journal list --store mine --key-file new.key").ok();
    // Keys are not printed, and a plain store has none to change.
    sandbox.run("journal add birds.jsonl --store plain").ok();
    sandbox.run("store rotate-key --new-key-file new.key --store plain").refuses(1, &["not encrypted"]);
}

#[test]
fn one_process_at_a_time() {
    let sandbox = Sandbox::new();
    write_examples(&sandbox);
    let store = Store::open(&sandbox.path("mine"), StoreOptions::default()).unwrap();
    sandbox.run("journal add birds.jsonl --store mine").refuses(1, &["in use by another process"]);
    drop(store);
    sandbox.run("journal add birds.jsonl --store mine").ok();
    let key = StoreOptions { key: Some(Key::new([1; 32])), ..StoreOptions::default() };
    assert!(Store::open(&sandbox.path("mine"), key).is_err());
}
