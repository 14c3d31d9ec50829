//! Tokenizers: the keys that they become, and those that are refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use nightgraft_gguf::{Array, Metadata, Value};
use nightgraft_tiny_model::{HuggingFaceFolder, Vocabulary};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::pre_tokenizer::{GPT4O, TEKKEN};
use super::*;
use crate::{JsonProblem, Source};

fn folder(vocabulary: Vocabulary) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    HuggingFaceFolder { vocabulary, ..HuggingFaceFolder::new("LlamaForCausalLM") }
        .write(folder.path())
        .unwrap();
    folder
}

fn keys(folder: &Path) -> Metadata {
    Source::read(folder, None).unwrap().metadata
}

fn change(path: &Path, change: impl FnOnce(&mut Json)) {
    let mut json = serde_json::from_str(&fs::read_to_string(path).unwrap_or("{}".into())).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// The keys of a byte-level tokenizer with a change.
fn changed(change_json: impl FnOnce(&mut Json)) -> Result<Metadata> {
    let folder = folder(Vocabulary::ByteLevel);
    change(&folder.path().join(FILE), change_json);
    Source::read(folder.path(), None).map(|source| source.metadata)
}

/// The problem of a SentencePiece-style tokenizer with a change.
fn piece_problem(change_json: impl FnOnce(&mut Json)) -> TokenizerProblem {
    let folder = folder(Vocabulary::SentencePiece);
    change(&folder.path().join(FILE), change_json);
    of(Source::read(folder.path(), None).map(|source| source.metadata))
}

fn problem(change_json: impl FnOnce(&mut Json)) -> TokenizerProblem {
    of(changed(change_json))
}

fn of(found: Result<Metadata>) -> TokenizerProblem {
    match found.unwrap_err() {
        Error::Tokenizer { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn cuts_are_known_by_their_expressions() {
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let name = |steps: Json, ignore_merges: bool| {
        let metadata = changed(|json| {
            json["pre_tokenizer"] = steps;
            json["model"]["ignore_merges"] = json!(ignore_merges);
        });
        metadata.map(|metadata| metadata.string("tokenizer.ggml.pre").unwrap().to_owned())
    };
    let split = |expression: &str, behavior: &str, invert: bool| {
        json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": expression }, "behavior": behavior, "invert": invert },
            { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
        ] })
    };
    let plain = json!({ "type": "ByteLevel", "add_prefix_space": false });
    assert_eq!(name(plain, false).unwrap(), "gpt-2");
    assert_eq!(name(split(LLAMA3, "Isolated", false), true).unwrap(), "llama-bpe");
    assert_eq!(name(split(LLAMA3, "Removed", true), false).unwrap(), "dbrx");
    assert_eq!(name(split(&LLAMA3.replace("{1,3}", ""), "Isolated", false), false).unwrap(), "qwen2");
    let unknown = name(split(r"\p{L}+|\P{L}", "Isolated", false), false).unwrap_err();
    assert!(unknown.to_string().contains(r"\\p{L}+|\\P{L}"), "{unknown}");
    for (expression, ignore_merges) in [(&*LLAMA3.replace("{1,3}", ""), true), (TEKKEN, false), (GPT4O, true)]
    {
        let other = name(split(expression, "Isolated", false), ignore_merges).unwrap_err();
        let end = format!("with ignore_merges {ignore_merges}");
        assert!(other.to_string().ends_with(&end), "{other}");
    }
    assert_eq!(name(split(TEKKEN, "Isolated", false), true).unwrap(), "tekken");
    assert_eq!(name(split(GPT4O, "Isolated", false), false).unwrap(), "gpt-4o");
    let prefixed = name(json!({ "type": "ByteLevel", "add_prefix_space": true }), false).unwrap_err();
    assert!(prefixed.to_string().contains("no name for its pre-tokenizer"), "{prefixed}");
}

#[test]
fn tokens_have_the_kinds_of_llama_cpp_s_converter() {
    let metadata = changed(|json| {
        // They take the places of the last merged tokens.
        json["model"]["merges"] = json!([]);
        json["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64() < Some(270));
        let added = json["added_tokens"].as_array_mut().unwrap();
        for (id, content) in [(270, "<tool_call>"), (271, "<|fim_prefix|>"), (272, "a▁b")] {
            added.push(json!({ "id": id, "content": content, "special": false }));
        }
    })
    .unwrap();
    let (kinds, texts) = (
        metadata.i32s("tokenizer.ggml.token_type").unwrap(),
        metadata.strings("tokenizer.ggml.tokens").unwrap(),
    );
    let of = |id: usize| (texts[id].as_str(), kinds[id]);
    assert_eq!(of(0), ("<|endoftext|>", CONTROL));
    assert_eq!(of(270), ("<tool_call>", USER_DEFINED));
    assert_eq!(of(271), ("<|fim_prefix|>", CONTROL));
    assert_eq!(of(272), ("a b", USER_DEFINED));
}

#[test]
fn rows_without_a_token_are_padding() {
    let folder = folder(Vocabulary::SentencePiece);
    change(&folder.path().join("config.json"), |json| json["vocab_size"] = json!(380));
    let metadata = keys(folder.path());
    let (kinds, texts) = (
        metadata.i32s("tokenizer.ggml.token_type").unwrap(),
        metadata.strings("tokenizer.ggml.tokens").unwrap(),
    );
    assert_eq!((texts.len(), texts[379].as_str(), kinds[379]), (380, "[PAD379]", UNUSED));
    assert_eq!((kinds[0], kinds[1], kinds[3], kinds[300]), (UNKNOWN, CONTROL, BYTE, NORMAL));
    let scores = metadata.f32s("tokenizer.ggml.scores").unwrap();
    assert_eq!((scores[1], scores[259], scores[260], scores[379]), (NO, 0.0, -1.0, NO));
    assert_eq!(metadata.bool("tokenizer.ggml.add_space_prefix"), Some(true));
    assert_eq!(metadata.bool("tokenizer.ggml.add_bos_token"), Some(true));
}

/// The score of what is no text.
const NO: f32 = -1000.0;

#[test]
fn vocabularies_that_do_not_fit_are_refused() {
    let folder = folder(Vocabulary::ByteLevel);
    change(&folder.path().join("config.json"), |json| json["vocab_size"] = json!(200));
    let error = Source::read(folder.path(), None).unwrap_err();
    assert!(error.to_string().contains("does not fit: token 200 has no row among the 200"), "{error}");

    let repeated = problem(|json| {
        json["model"]["vocab"].as_object_mut().unwrap().remove("<|im_start|>").unwrap();
        json["added_tokens"][1]["content"] = json!("<|im_end|>");
    });
    assert_eq!(repeated, TokenizerProblem::RepeatedToken { first: 1, second: 2 });
    assert_eq!(
        problem(|json| json["model"]["merges"][3] = json!("x qqq")),
        TokenizerProblem::Merge { rank: 3 }
    );
    let unigram = problem(|json| json["model"] = json!({ "type": "Unigram", "vocab": [["a", -1.0]] }));
    assert_eq!(unigram, TokenizerProblem::Model { kind: "Unigram".into() });
    let marked = problem(|json| json["model"]["end_of_word_suffix"] = json!("</w>"));
    assert!(matches!(marked, TokenizerProblem::Model { .. }));
    let lower = problem(|json| json["normalizer"] = json!({ "type": "Lowercase" }));
    assert_eq!(lower, TokenizerProblem::Normalizer { found: r#"{"type":"Lowercase"}"#.into() });
    changed(|json| json["normalizer"] = json!({ "type": "NFC" })).unwrap();
    let neither = problem(|json| json["pre_tokenizer"] = Json::Null);
    assert!(neither.to_string().contains("neither byte-level nor"), "{neither}");
    let merge = changed(|json| json["model"]["merges"][0] = json!(7)).unwrap_err().to_string();
    assert!(merge.contains("a merge is neither a text nor a pair of texts"), "{merge}");
    let malformed = changed(|json| json["model"] = json!(7)).unwrap_err();
    assert!(matches!(malformed, Error::Json { problem: JsonProblem::Malformed(_), .. }));
}

#[test]
fn normalizers_are_known_by_what_they_do() {
    let normalized = |normalizer: Json, pre_tokenizer: Json| {
        let folder = folder(Vocabulary::SentencePiece);
        change(&folder.path().join(FILE), |json| {
            json["normalizer"] = normalizer;
            json["pre_tokenizer"] = pre_tokenizer;
        });
        let source = Source::read(folder.path(), None);
        source.map(|source| source.metadata.bool("tokenizer.ggml.add_space_prefix").unwrap())
    };
    let replace =
        |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let prepend = |text: &str| json!({ "type": "Prepend", "prepend": text });
    let both = |first: Json, second: Json| json!({ "type": "Sequence", "normalizers": [first, second] });
    let metaspace =
        |text: &str| json!({ "type": "Metaspace", "replacement": text, "prepend_scheme": "first" });
    let spaces =
        || json!({ "type": "Split", "pattern": { "String": " " }, "behavior": "MergedWithPrevious" });
    assert!(!normalized(replace(" ", "▁"), spaces()).unwrap());
    assert!(normalized(both(prepend("▁"), replace(" ", "▁")), Json::Null).unwrap());
    assert!(normalized(Json::Null, metaspace("▁")).unwrap());
    for (normalizer, pre_tokenizer) in [
        (replace(" ", "_"), spaces()),
        (replace("a", "▁"), spaces()),
        (both(prepend("x"), replace(" ", "▁")), Json::Null),
        (Json::Null, spaces()),
        (Json::Null, Json::Null),
    ] {
        let found = of(normalized(normalizer, pre_tokenizer).map(|_| Metadata::new()));
        assert!(matches!(found, TokenizerProblem::Normalizer { .. }), "{found}");
    }
    let found = of(normalized(Json::Null, metaspace("_")).map(|_| Metadata::new()));
    assert!(matches!(found, TokenizerProblem::PreTokenizer { .. }), "{found}");
}

#[test]
fn every_byte_has_a_token() {
    let without = |text: &'static str| {
        move |json: &mut Json| {
            json["model"]["vocab"].as_object_mut().unwrap().remove(text).unwrap();
        }
    };
    assert_eq!(problem(without("Ā")), TokenizerProblem::NoByte { byte: 0 });
    assert_eq!(problem(without("ÿ")), TokenizerProblem::NoByte { byte: 0xff });
    assert_eq!(piece_problem(without("<0x41>")), TokenizerProblem::NoByte { byte: 0x41 });
    let lost = piece_problem(|json| json["model"]["byte_fallback"] = json!(false));
    assert!(matches!(lost, TokenizerProblem::Model { .. }), "{lost}");
}

#[test]
fn two_texts_with_one_id_are_refused() {
    let twice = problem(|json| json["model"]["vocab"]["zzz"] = json!(5));
    assert!(matches!(&twice, TokenizerProblem::RepeatedId { id: 5, .. }), "{twice}");
    let over = problem(|json| {
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.push(json!({ "id": 9, "content": "<x>", "special": true }));
    });
    assert!(matches!(&over, TokenizerProblem::RepeatedId { id: 9, second, .. } if second == "<x>"), "{over}");
}

#[test]
fn pairs_and_texts_are_the_same_merges() {
    let texts = changed(|_| ()).unwrap();
    let pairs = changed(|json| {
        for merge in json["model"]["merges"].as_array_mut().unwrap() {
            let (left, right) = merge.as_str().unwrap().split_once(' ').unwrap();
            *merge = json!([left, right]);
        }
    });
    assert_eq!(texts.get("tokenizer.ggml.merges"), pairs.unwrap().get("tokenizer.ggml.merges"));
    assert_eq!(texts.strings("tokenizer.ggml.merges").unwrap()[0], "Ġ t");
}

#[test]
fn special_tokens_are_found_by_name_then_by_number() {
    let folder = folder(Vocabulary::ByteLevel);
    let path = |name: &str| folder.path().join(name);
    let id = |key: &str| keys(folder.path()).u64(&format!("tokenizer.ggml.{key}_token_id"));
    assert_eq!((id("bos"), id("eos"), id("eot"), id("padding")), (Some(1), Some(2), Some(2), None));

    // Gemma's way: the text ends with one, a turn with another.
    fs::remove_file(path(TOKENIZER)).unwrap();
    let generation = json!({ "eos_token_id": [0, 2], "top_k": 64, "top_p": 0.95, "temperature": 1.0 });
    fs::write(path(GENERATION), generation.to_string()).unwrap();
    assert_eq!((id("bos"), id("eos"), id("eot")), (None, Some(0), Some(2)));
    let metadata = keys(folder.path());
    assert_eq!(metadata.get("general.sampling.top_k"), Some(&Value::I32(64)));
    assert_eq!(metadata.f32("general.sampling.temp"), Some(1.0));

    fs::write(
        path(SPECIAL_NAMES),
        json!({ "eos_token": { "content": "<|im_end|>" }, "pad_token": "gone" }).to_string(),
    )
    .unwrap();
    assert_eq!((id("eos"), id("eot"), id("padding")), (Some(2), Some(2), None));
    fs::write(path(TOKENIZER), json!({ "eos_token": "</s>" }).to_string()).unwrap();
    let error = Source::read(folder.path(), None).unwrap_err();
    assert!(error.to_string().ends_with("eos_token is \"</s>\", which is no token"), "{error}");
    for name in [TOKENIZER, GENERATION, SPECIAL_NAMES] {
        fs::remove_file(path(name)).unwrap();
    }
    let error = Source::read(folder.path(), None).unwrap_err();
    assert!(matches!(error, Error::Tokenizer { problem: TokenizerProblem::NoEnd, .. }), "{error}");
}

#[test]
fn templates_come_from_their_own_file_first() {
    let folder = folder(Vocabulary::ByteLevel);
    let path = |name: &str| folder.path().join(name);
    let template = |key: &str| keys(folder.path()).string(key).map(str::to_owned);
    assert_eq!(template("tokenizer.chat_template"), None);
    change(&path(TOKENIZER), |json| json["chat_template"] = json!("one"));
    assert_eq!(template("tokenizer.chat_template").as_deref(), Some("one"));
    let named =
        json!([{ "name": "default", "template": "two" }, { "name": "tool_use", "template": "three" }]);
    change(&path(TOKENIZER), |json| json["chat_template"] = named);
    assert_eq!(template("tokenizer.chat_template").as_deref(), Some("two"));
    assert_eq!(template("tokenizer.chat_template.tool_use").as_deref(), Some("three"));
    let names = Value::Array(Array::String(vec!["tool_use".to_owned()]));
    assert_eq!(keys(folder.path()).get("tokenizer.chat_templates"), Some(&names));
    fs::write(path(TEMPLATE_FILES[1]), json!({ "chat_template": "four" }).to_string()).unwrap();
    assert_eq!(template("tokenizer.chat_template").as_deref(), Some("four"));
    fs::write(path(TEMPLATE_FILES[0]), "{{ five }}").unwrap();
    assert_eq!(template("tokenizer.chat_template").as_deref(), Some("{{ five }}"));
    fs::write(path(TEMPLATE_FILES[0]), [0xff]).unwrap();
    assert!(matches!(Source::read(folder.path(), None), Err(Error::NotText { .. })));
    fs::remove_file(path(TEMPLATE_FILES[0])).unwrap();
    fs::write(path(TEMPLATE_FILES[1]), json!({ "chat_template": 5 }).to_string()).unwrap();
    let error = Source::read(folder.path(), None).unwrap_err().to_string();
    assert!(
        error.contains("chat_template is neither a text nor a list") && !error.contains("enum"),
        "{error}"
    );
}
