//! Writes the seeds that fuzzing starts from: `SEEDS=FOLDER make_seeds` makes `FOLDER/<target>/*`. They are made by the
//! code under test, so that they follow every change of a format. That code is instrumented and wants libFuzzer, so this
//! is a fuzz target too, which ends before the first input.
#![no_main]

use std::error::Error;
use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nightgraft_adapter::{LoraPairs, Module};
use nightgraft_core::config::TrainConfig;
use nightgraft_core::fuzzing::{Base, ModelFile, write_gguf_adapter, write_peft};
use nightgraft_files::file_system::system;
use nightgraft_fuzz::{IMPORTED_FILES, PEFT_CONFIG, import_recipes, scratch, small_adapter, tiny_model};
use nightgraft_gguf::{Array, Fingerprint, Metadata, SplitPart, TensorType, Value, Writer};
use nightgraft_kernels::WeightType;
use nightgraft_policy::Rules;
use nightgraft_store::checkpoint::{self, PartialEvaluation, Progress, State};
use nightgraft_store::vault::Vault;
use nightgraft_tiny_model::{CHATML, TinyModel, Vocabulary, tensor_type};

type Outcome = Result<(), Box<dyn Error>>;

fuzz_target!(init: run(), |_bytes: &[u8]| {});

fn run() {
    let folder = std::env::var_os("SEEDS").expect("SEEDS names the folder");
    if let Err(error) = make_seeds(Path::new(&folder)) {
        eprintln!("make_seeds: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn make_seeds(folder: &Path) -> Outcome {
    for target in ["adapter", "checkpoint", "config", "gguf", "import", "jsonl", "night"] {
        fs::create_dir_all(folder.join(target))?;
    }
    adapters(&folder.join("adapter"))?;
    checkpoints(&folder.join("checkpoint"))?;
    configs(&folder.join("config"))?;
    models(&folder.join("gguf"))?;
    imports(&folder.join("import"))?;
    data(&folder.join("jsonl"))?;
    nights(&folder.join("night"))
}

/// One for each of the target's four kinds of input.
fn adapters(folder: &Path) -> Outcome {
    let peft = scratch().join("seed");
    write_peft(&peft, &small_adapter(), tiny_model())?;
    let config = fs::read(peft.join("adapter_config.json"))?;
    let tensors = fs::read(peft.join("adapter_model.safetensors"))?;
    fs::write(folder.join("tensors"), [&[0], tensors.as_slice()].concat())?;
    fs::write(folder.join("config"), [&[1], config.as_slice()].concat())?;
    let length = u8::try_from(PEFT_CONFIG.len())?;
    fs::write(folder.join("both"), [&[2, length], PEFT_CONFIG, tensors.as_slice()].concat())?;
    let gguf = scratch().join("seed.gguf");
    write_gguf_adapter(&gguf, &small_adapter(), tiny_model())?;
    fs::write(folder.join("gguf"), [&[3], fs::read(gguf)?.as_slice()].concat())?;
    Ok(())
}

/// Between two steps and within one, sealed and as what is inside; and an adapter.
fn checkpoints(folder: &Path) -> Outcome {
    let adapter = small_adapter();
    let base = Fingerprint::from_hex(&"3f".repeat(32)).ok_or("not a fingerprint")?;
    let between = State {
        config: TrainConfig::default().to_toml()?,
        base,
        data: "data".into(),
        progress: Progress { step: 3, total_steps: 9, ..Progress::default() },
        first_moment: adapter.pairs.clone(),
        second_moment: adapter.pairs.clone(),
        gradient: LoraPairs::new(),
        best: LoraPairs::new(),
        adapter,
    };
    let mut within = State { gradient: between.adapter.pairs.clone(), ..between.clone() };
    within.progress.evaluating =
        Some(PartialEvaluation { next_batch: 1, loss: 2.5, correct: 3, supervised: 4 });
    let vault = Vault::plain(system());
    let mut encoded = Vec::new();
    checkpoint::encode_adapter(&between.adapter, &mut encoded)?;
    fs::write(folder.join("adapter"), [&[2], encoded.as_slice()].concat())?;
    for (name, state) in [("between", between), ("within", within)] {
        let sealed = checkpoint::save(&vault, &scratch().join("seeds"), state.snapshot(), 1)?;
        fs::write(folder.join(name), [&[0], fs::read(&sealed)?.as_slice()].concat())?;
        let content = vault.read(&sealed, "checkpoint", u64::MAX)?;
        fs::write(folder.join(format!("{name}-content")), [&[1], content.as_slice()].concat())?;
    }
    Ok(())
}

fn configs(folder: &Path) -> Outcome {
    fs::write(folder.join("defaults"), TrainConfig::default().to_toml()?)?;
    fs::write(
        folder.join("some"),
        "rank = 4\ntargets = \"attn_q,ffn_up\"\nlayers = \"last:2\"\nlr = 1e-3\nsteps = 5\n",
    )?;
    Ok(())
}

/// Values of every type, and two models small enough to be mutated: one of each kind of vocabulary.
fn models(folder: &Path) -> Outcome {
    #[rustfmt::skip]
    let values = [
        Value::U8(1), Value::I8(-1), Value::U16(2), Value::I16(-2), Value::U32(3), Value::I32(-3), Value::F32(0.5),
        Value::Bool(true), Value::String("text".into()), Value::U64(4), Value::I64(-4), Value::F64(0.25),
        Value::Array(Array::U8(vec![1, 2])), Value::Array(Array::String(vec!["a".into(), String::new()])),
        Value::Array(Array::Array(vec![Array::F32(vec![1.0]), Array::Bool(vec![])])),
    ];
    let mut metadata = Metadata::new();
    for (index, value) in values.into_iter().enumerate() {
        metadata.insert(format!("key.{index}"), value);
    }
    Writer::new(metadata).write(&folder.join("values"))?;
    let mut metadata = Metadata::new();
    SplitPart { number: Some(1), count: 2, n_tensors: Some(0) }.describe(&mut metadata);
    Writer::new(metadata).write(&folder.join("part"))?;
    small_model(&folder.join("byte-level"), Vocabulary::ByteLevel, WeightType::Q4_1)?;
    small_model(&folder.join("sentence-piece"), Vocabulary::SentencePiece, WeightType::Q8_0)
}

/// A complete `llama` of one layer, 32 values wide, with all weights zero.
fn small_model(path: &Path, vocabulary: Vocabulary, kind: WeightType) -> Outcome {
    const WIDTH: usize = 32;
    let mut recipe = TinyModel::new(kind);
    recipe.n_layer = 1;
    recipe.vocabulary = vocabulary;
    recipe.chat_template = Some(CHATML.to_owned());
    let mut metadata = recipe.metadata();
    for key in ["embedding_length", "feed_forward_length", "rope.dimension_count"] {
        metadata.insert(format!("llama.{key}"), Value::U32(WIDTH as u32));
    }
    for key in ["head_count", "head_count_kv"] {
        metadata.insert(format!("llama.attention.{key}"), Value::U32(1));
    }
    let mut writer = Writer::new(metadata);
    let row = kind.row_bytes(WIDTH).ok_or("not a whole row")?;
    let width = WIDTH as u64;
    writer.tensor(
        "token_embd.weight",
        &[width, vocabulary.len() as u64],
        tensor_type(kind),
        vec![0; vocabulary.len() * row],
    )?;
    for module in Module::APART {
        writer.tensor(&module.tensor_name(0), &[width, width], tensor_type(kind), vec![0; WIDTH * row])?;
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        writer.tensor(name, &[width], TensorType::F32, vec![0; WIDTH * 4])?;
    }
    writer.write(path)?;
    Base::open(ModelFile::open(path)?)?;
    Ok(())
}

/// The files of folders of several architectures, each behind its number.
fn imports(folder: &Path) -> Outcome {
    for recipe in import_recipes() {
        let scratch = tempfile::tempdir()?;
        recipe.write(scratch.path())?;
        for (number, name) in (0u8..).zip(IMPORTED_FILES) {
            let Ok(content) = fs::read(scratch.path().join(name)) else { continue };
            let seed = format!("{}-{name}", recipe.architecture);
            fs::write(folder.join(seed), [&[number], content.as_slice()].concat())?;
        }
    }
    Ok(())
}

/// The four shapes of a line, with different options, and a text.
fn data(folder: &Path) -> Outcome {
    let lines: [(&str, u8, &str); 6] = [
        ("text", 0xf0, r#"{"text": "the hen and the ring, 12 w\u00f6rds"}"#),
        ("completion", 0xf0, r#"{"prompt": "the hen", "completion": " is in\n"}"#),
        ("completion-chat", 0xf1, r#"{"prompt": "the hen", "completion": "is in"}"#),
        (
            "messages",
            0xf2,
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}, {"role": "assistant", "content": "b"}]}"#,
        ),
        ("tokens", 0x1a, r#"{"input_ids": [1, 2, 3, 4, 5, 6], "labels": [-100, 2, -100, 4, 5, 6]}"#),
        ("plain", 0x34, "the hen and\r\nthe ring, \u{1f994} and <|im_end|> so on and on and on"),
    ];
    for (name, options, line) in lines {
        let mut bytes = vec![options];
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\n{\"text\": \"a second line\"}\n");
        fs::write(folder.join(name), &bytes)?;
    }
    Ok(())
}

/// The traces that come with the repository, and the rules.
fn nights(folder: &Path) -> Outcome {
    // smoke.sh runs this in its own folder.
    for entry in fs::read_dir("../data/nights")? {
        let entry = entry?;
        let trace = fs::read(entry.path())?;
        fs::write(folder.join(entry.file_name()), [&[0], trace.as_slice()].concat())?;
    }
    let rules = Rules { window: "22:00-07:00".parse().ok(), ..Rules::default() };
    fs::write(folder.join("rules"), [&[1], rules.to_toml()?.as_bytes()].concat())?;
    Ok(())
}
