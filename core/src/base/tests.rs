//! Opening tiny models, and refusing wrong ones.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use nightgraft_adapter::Module;
use nightgraft_ggml::weight_types;
use nightgraft_gguf::{Array, Metadata, TensorType, Value, Writer};
use nightgraft_kernels::{WeightType, Weights};
use nightgraft_tiny_model::{N_EMBD, N_FF, TinyModel, Vocabulary};
use rand::{Rng, SeedableRng};

use super::*;
use crate::Error;
use crate::error::{ArchitectureKind, KeyProblem, ModelProblem};
use crate::model_file::ModelFile;

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self) -> PathBuf {
        self.0.path().join("model.gguf")
    }
    fn open(&self, writer: Writer) -> crate::Result<Base> {
        writer.write(&self.path()).unwrap();
        Base::open(ModelFile::open(&self.path()).unwrap())
    }
}

fn tiny() -> TinyModel {
    TinyModel { n_layer: 1, ..TinyModel::new(WeightType::Q4_0) }
}

#[test]
fn every_format_opens_with_the_right_shapes() {
    for kind in weight_types() {
        for (tied, vocabulary) in [(true, Vocabulary::ByteLevel), (false, Vocabulary::SentencePiece)] {
            let scratch = Scratch::new();
            let model = TinyModel { tied, vocabulary, ..TinyModel::new(kind) };
            model.write(&scratch.path()).unwrap();
            let base = Base::open(ModelFile::open(&scratch.path()).unwrap()).unwrap();
            let spec = &base.spec;
            assert_eq!((spec.n_embd, spec.n_layer()), (N_EMBD, 2));
            for layer in &spec.layers {
                let AttentionSpec { n_head, n_head_kv, head_dim, .. } = *layer.attention();
                assert_eq!((n_head, n_head_kv, head_dim, layer.feed_forward.n_ff), (4, 2, 64, N_FF));
            }
            assert_eq!((spec.n_vocab, spec.tied_head), (vocabulary.len(), tied));
            let rope = Rope {
                base: 10_000.0,
                dims: 64,
                factors: RopeFactors::None,
                scaling: RopeScaling::Linear(1.0),
                magnitude: 1.0,
            };
            assert_eq!(spec.ropes, [rope]);
            assert_eq!(base.architecture(), "llama");
            assert_eq!(base.output.name, if tied { "token_embd.weight" } else { "output.weight" });
            assert_eq!(base.layers.len(), 2);
            for (index, layer) in base.layers.iter().enumerate() {
                assert_eq!(spec.modules(index), Module::APART);
                for module in Module::APART {
                    let weight = layer.module(module).unwrap();
                    assert_eq!(Some((weight.n_rows, weight.n_cols)), spec.module_shape(index, module));
                    assert_eq!(weight.kind, kind);
                    assert_eq!(base.weight_bytes(weight).len(), weight.n_bytes);
                }
            }
        }
    }
}

#[test]
fn biases_are_found_where_the_model_has_them() {
    let scratch = Scratch::new();
    let llama = scratch.open(tiny().writer(tiny().metadata()).unwrap()).unwrap();
    assert!(Module::ALL.iter().all(|&module| llama.layers[0].bias(module).is_none()));

    let qwen = TinyModel { architecture: "qwen2", ..tiny() };
    let base = scratch.open(qwen.writer(qwen.metadata()).unwrap()).unwrap();
    assert_eq!((base.architecture(), base.spec.rope_layout), ("qwen2", RopeLayout::Halves));
    for module in Module::ALL {
        let length = base.layers[0].bias(module).map(|bias| (bias.name.clone(), bias.n_cols));
        let expected = Module::QKV
            .contains(&module)
            .then(|| (format!("blk.0.{module}.bias"), base.spec.module_shape(0, module).unwrap().0));
        assert_eq!(length, expected);
    }
}

#[test]
fn embeddings_are_rows_of_the_table() {
    let scratch = Scratch::new();
    let model = TinyModel { embedding_kind: Some(WeightType::F32), ..tiny() };
    let base = scratch.open(model.writer(model.metadata()).unwrap()).unwrap();
    let mut out = vec![0.0; 3 * N_EMBD];
    base.embed(&[5, 0, 5], &mut out).unwrap();
    let (table, _) = base.weight_bytes(&base.token_embd).as_chunks::<4>();
    for (t, id) in [5, 0, 5].into_iter().enumerate() {
        for i in 0..N_EMBD {
            assert_eq!(out[t * N_EMBD + i], f32::from_le_bytes(table[id * N_EMBD + i]));
        }
    }
    assert!(base.embed(&[base.spec.n_vocab as u32], &mut out[..N_EMBD]).is_err());
    assert!(base.embed(&[u32::MAX], &mut out[..N_EMBD]).is_err());
    assert!(base.embed(&[1, 2], &mut out).is_err());
    let foreign = Weight { offset: usize::MAX - 3, ..base.token_embd.clone() };
    assert!(base.weight_bytes(&foreign).is_empty());
    assert!(base.weights(&foreign).is_err());
}

#[test]
fn rope_scaling_is_read() {
    let scratch = Scratch::new();
    let model = TinyModel { linear_scaling: Some(4.0), rope_factors: true, ..tiny() };
    let base = scratch.open(model.writer(model.metadata()).unwrap()).unwrap();
    assert_eq!(base.spec.ropes[0].scaling, RopeScaling::Linear(0.25));
    let RopeFactors::All(factors) = &base.spec.ropes[0].factors else { unreachable!("factors") };
    assert_eq!(factors.len(), 32);
    assert!(factors.iter().all(|factor| (1.0..8.0).contains(factor)));
    let again = scratch.open(model.writer(model.metadata()).unwrap()).unwrap();
    assert_eq!(again.spec, base.spec);
    assert_eq!(again.fingerprint(), base.fingerprint());
}

/// Opens a tiny model with one key changed, and expects a refusal because of it.
fn refuse_key(key: &str, value: Value, because: ModelProblem) {
    assert_eq!(problem_with(key, value), because, "{key}");
}

/// Why a tiny model with one key changed is refused.
fn problem_with(key: &str, value: Value) -> ModelProblem {
    let mut metadata = tiny().metadata();
    metadata.insert(key, value);
    problem(tiny().writer(metadata).unwrap())
}

fn refuse(writer: Writer, because: ModelProblem) {
    assert_eq!(problem(writer), because);
}

fn problem(writer: Writer) -> ModelProblem {
    match Scratch::new().open(writer).unwrap_err() {
        Error::UnsupportedModel { problem } => problem,
        other => unreachable!("{other}"),
    }
}

fn missing(tensor: &str) -> ModelProblem {
    ModelProblem::Missing { tensor: tensor.into() }
}

fn dimensions(tensor: &str, found: &[u64], expected: &[u64]) -> ModelProblem {
    let expected = (!expected.is_empty()).then(|| expected.to_vec());
    ModelProblem::Dimensions { tensor: tensor.into(), found: found.to_vec(), expected }
}

#[test]
fn wrong_metadata_is_refused() {
    let text = |text: &str| Value::String(text.into());
    for (name, kind) in [
        ("gpt2", None),
        ("mamba", Some(ArchitectureKind::Recurrent)),
        ("qwen3moe", Some(ArchitectureKind::Experts)),
        ("bert", Some(ArchitectureKind::Encoder)),
    ] {
        let supported = supported_architectures().collect();
        let architecture = ModelProblem::Architecture { name: name.into(), kind, supported };
        refuse_key("general.architecture", text(name), architecture);
    }
    refuse_key("general.architecture", Value::U32(1), ModelProblem::NoArchitecture);
    refuse_key("general.type", text("adapter"), ModelProblem::Type { kind: "adapter".into() });
    for key in
        ["block_count", "embedding_length", "feed_forward_length", "attention.head_count", "context_length"]
    {
        let key = format!("llama.{key}");
        let told = |value| match problem_with(&key, value) {
            ModelProblem::Key { key: named, problem } if named == key => problem,
            other => unreachable!("{key}: {other}"),
        };
        assert!(matches!(told(Value::U32(0)), KeyProblem::Count { found: 0, .. }));
        let most = told(Value::U32(u32::MAX));
        assert!(matches!(most, KeyProblem::Count { found: 0xffff_ffff, .. }), "{most}");
        // llama.cpp takes no integers of other types either.
        for (value, found) in
            [(Value::I32(4), "i32"), (Value::U64(4), "u64"), (Value::I64(4), "i64"), (text("4"), "string")]
        {
            assert_eq!(told(value), KeyProblem::Type { found, expected: "u32" });
        }
    }
    for name in ["block_count", "embedding_length", "context_length", "attention.key_length"] {
        let key = format!("llama.{name}");
        let problem = KeyProblem::Type { found: "array", expected: "u32" };
        refuse_key(&key, Value::Array(Array::U32(vec![4])), ModelProblem::Key { key: key.clone(), problem });
    }
    refuse_key("llama.block_count", Value::U32(2), missing("blk.1.attn_q.weight"));
    let narrow = dimensions("blk.0.ffn_gate.weight", &[256, N_FF as u64], &[256, 1024]);
    refuse_key("llama.feed_forward_length", Value::U32(1024), narrow);
    let few_keys = dimensions("blk.0.attn_k.weight", &[256, 128], &[256, 256]);
    refuse_key("llama.attention.head_count_kv", Value::U32(4), few_keys);
    let key = |key: &str, value: Value, problem: KeyProblem| {
        let key = format!("llama.{key}");
        refuse_key(&key, value, ModelProblem::Key { key: key.clone(), problem });
    };
    let indivisible = KeyProblem::Indivisible { found: 2, n_head: 7 };
    let of_heads = ModelProblem::Key { key: "llama.attention.head_count_kv".into(), problem: indivisible };
    refuse_key("llama.attention.head_count", Value::U32(7), of_heads);
    key("attention.head_count_kv", Value::U32(3), KeyProblem::Indivisible { found: 3, n_head: 4 });
    key("attention.head_count_kv", Value::U32(0), KeyProblem::Count { found: 0, most: 4 });
    key("attention.head_count_kv", Value::U32(8), KeyProblem::Count { found: 8, most: 4 });
    let unequal = KeyProblem::ValueWidth { found: 64, head_dim: 32 };
    let of_values = ModelProblem::Key { key: "llama.attention.value_length".into(), problem: unequal };
    refuse_key("llama.attention.key_length", Value::U32(32), of_values);
    let wide = KeyProblem::Count { found: 1 << 31, most: 1 << 24 };
    key("attention.key_length", Value::U32(1 << 31), wide);
    const EPS: &str = "attention.layer_norm_rms_epsilon";
    let no_number = problem_with("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN));
    let is_nan =
        |problem: &KeyProblem| matches!(problem, KeyProblem::NotPositive { found } if found.is_nan());
    assert!(matches!(&no_number, ModelProblem::Key { problem, .. } if is_nan(problem)), "{no_number}");
    key(EPS, Value::F32(-1.0), KeyProblem::NotPositive { found: -1.0 });
    for (value, found) in [(Value::U32(1), "u32"), (Value::F64(1e-5), "f64")] {
        key(EPS, value, KeyProblem::Type { found, expected: "f32" });
    }
    key("attention.causal", Value::Bool(false), KeyProblem::NotCausal);
    for (value, found) in [(text("false"), "string"), (Value::U32(0), "u32")] {
        key("attention.causal", value, KeyProblem::Type { found, expected: "bool" });
    }
    key("expert_count", Value::U32(8), KeyProblem::Set { meaning: "a mixture of experts" });
    for way in ["su", "dynamic"] {
        key("rope.scaling.type", text(way), KeyProblem::RopeScaling { found: way.into() });
    }
    key("rope.scaling.type", Value::U8(1), KeyProblem::Type { found: "u8", expected: "string" });
    for found in [-2.0, f32::INFINITY] {
        key("rope.scaling.factor", Value::F32(found), KeyProblem::NotPositive { found });
    }
    key("rope.scaling.factor", Value::F32(1e-45), KeyProblem::OutOfRange);
    key("rope.scaling.attn_factor", Value::F32(-1.5), KeyProblem::NotPositive { found: -1.5 });
    key("rope.freq_base", Value::F32(0.0), KeyProblem::NotPositive { found: 0.0 });
    let partial = KeyProblem::PartialRope { found: 32, head_dim: 64 };
    key("rope.dimension_count", Value::U32(32), partial);
    let tokens = |tokens| ModelProblem::Tokens { tokens, embeddings: 279 };
    refuse_key("llama.vocab_size", Value::U32(5), tokens(5));
    let one = Value::Array(Array::String(vec!["a".into()]));
    refuse_key("tokenizer.ggml.tokens", one, tokens(1));

    let mut without_eps = Metadata::new();
    for (key, value) in tiny().metadata().iter().filter(|(key, _)| !key.contains("epsilon")) {
        without_eps.insert(key, value.clone());
    }
    let no_eps = ModelProblem::Key { key: format!("llama.{EPS}"), problem: KeyProblem::Missing };
    refuse(tiny().writer(without_eps).unwrap(), no_eps);
    refuse(tiny().writer(Metadata::new()).unwrap(), ModelProblem::NoArchitecture);
}

/// Heads and widths may be lists, of one entry a layer and all alike.
#[test]
fn lists_of_counts_have_an_entry_for_each_layer() {
    let two = TinyModel { n_layer: 2, ..tiny() };
    let open = |key: &str, list: Array| {
        let mut metadata = two.metadata();
        metadata.insert(key, Value::Array(list));
        Scratch::new().open(two.writer(metadata).unwrap())
    };
    for (key, n) in
        [("attention.head_count", 4), ("attention.head_count_kv", 2), ("feed_forward_length", N_FF)]
    {
        let (key, n) = (format!("llama.{key}"), n as u32);
        let refused = |list: Array| match open(&key, list).unwrap_err() {
            Error::UnsupportedModel { problem: ModelProblem::Key { key: named, problem } }
                if named == key =>
            {
                problem
            }
            other => unreachable!("{key}: {other}"),
        };
        open(&key, Array::U32(vec![n; 2])).unwrap();
        open(&key, Array::I32(vec![n.cast_signed(); 2])).unwrap();
        for found in [0, 1, 3, 5] {
            let entries = KeyProblem::Entries { found, n_layer: 2 };
            assert_eq!(refused(Array::U32(vec![n; found])), entries, "{key}");
        }
        assert_eq!(refused(Array::U32(vec![n, 1])), KeyProblem::DiffersBetweenLayers, "{key}");
        let negative = refused(Array::I32(vec![-1; 2]));
        assert!(matches!(negative, KeyProblem::Count { found: 0xffff_ffff, .. }), "{key}: {negative}");
        let wrong = KeyProblem::Type { found: "array", expected: "u32" };
        assert_eq!(refused(Array::U64(vec![n.into(); 2])), wrong, "{key}");
    }
}

/// Names that no list has are explained by the keys that go with them.
#[test]
fn unknown_architectures_are_explained_by_their_keys() {
    for (key, value, kind) in [
        ("new.expert_count", Value::U32(8), Some(ArchitectureKind::Experts)),
        ("new.expert_count", Value::U32(0), None),
        ("new.ssm.state_size", Value::U32(16), Some(ArchitectureKind::Recurrent)),
        ("new.wkv.head_size", Value::U32(64), Some(ArchitectureKind::Recurrent)),
        ("new.attention.causal", Value::Bool(false), Some(ArchitectureKind::Encoder)),
        ("new.attention.causal", Value::Bool(true), None),
        ("newer.ssm.state_size", Value::U32(16), None),
    ] {
        let mut metadata = tiny().metadata();
        metadata.insert("general.architecture", Value::String("new".into()));
        metadata.insert(key, value);
        let supported = supported_architectures().collect();
        refuse(
            tiny().writer(metadata).unwrap(),
            ModelProblem::Architecture { name: "new".into(), kind, supported },
        );
    }
}

#[test]
fn harmless_metadata_is_accepted() {
    let open = |key: &str, value| {
        let mut metadata = tiny().metadata();
        metadata.insert(key, value);
        Scratch::new().open(tiny().writer(metadata).unwrap()).unwrap()
    };
    let linear = |key: &str, value| open(key, value).spec.ropes[0].scaling;
    let heads = open("llama.attention.head_count", Value::Array(Array::I32(vec![4; 1])));
    assert_eq!(heads.spec.layers[0].attention().n_head, 4);
    assert_eq!(linear("llama.rope.scaling.factor", Value::F32(0.0)), RopeScaling::Linear(1.0));
    assert_eq!(linear("llama.rope.scale_linear", Value::F32(2.0)), RopeScaling::Linear(0.5));
    let none = linear("llama.rope.scaling.type", Value::String("none".into()));
    assert_eq!(none, RopeScaling::Linear(1.0));
    assert_eq!(open("llama.rope.scaling.attn_factor", Value::F32(1.5)).spec.ropes[0].magnitude, 1.5);
    assert_eq!(open("llama.expert_count", Value::U32(0)).spec.layers[0].feed_forward.n_ff, N_FF);
}

#[test]
fn wrong_tensors_are_refused() {
    let with = |name: &str, dims: &[u64], kind: TensorType| {
        let mut writer = tiny().writer(tiny().metadata()).unwrap();
        let n_bytes = kind.tensor_bytes(dims).unwrap() as usize;
        writer.tensor(name, dims, kind, vec![0; n_bytes]).unwrap();
        writer
    };
    let extra = |tensor: &str| ModelProblem::Extra { tensor: tensor.into() };
    let not_f32 = |tensor: &str| ModelProblem::NotF32 { tensor: tensor.into(), found: TensorType::F16 };
    refuse(with("blk.0.attn_q_norm.weight", &[64], TensorType::F32), extra("blk.0.attn_q_norm.weight"));
    refuse(with("output.bias", &[279], TensorType::F32), extra("output.bias"));
    let long = dimensions("blk.0.attn_k.bias", &[256], &[128]);
    refuse(with("blk.0.attn_k.bias", &[256], TensorType::F32), long);
    refuse(with("blk.0.attn_k.bias", &[128], TensorType::F16), not_f32("blk.0.attn_k.bias"));
    let qwen = TinyModel { architecture: "qwen2", ..tiny() };
    let mut metadata = qwen.metadata();
    metadata.insert("qwen2.attention.key_length", Value::U32(32));
    metadata.insert("qwen2.attention.value_length", Value::U32(32));
    metadata.insert("qwen2.rope.dimension_count", Value::U32(32));
    let (key, problem) = ("qwen2.attention.key_length".into(), KeyProblem::HeadWidth { found: 32 });
    refuse(qwen.writer(metadata).unwrap(), ModelProblem::Key { key, problem });
    let qwen = TinyModel { rope_factors: true, ..qwen };
    refuse(qwen.writer(qwen.metadata()).unwrap(), extra("rope_freqs.weight"));
    refuse(with("blk.1.attn_q.weight", &[256, 256], TensorType::Q4_0), extra("blk.1.attn_q.weight"));
    refuse(with("blk.0.attn_qkv.weight", &[256, 512], TensorType::Q4_0), extra("blk.0.attn_qkv.weight"));
    let format = ModelProblem::Format { tensor: "output.weight".into(), found: TensorType::Q8_K };
    refuse(with("output.weight", &[256, 279], TensorType::Q8_K), format);
    for found in [&[256, 280][..], &[256, 279, 2]] {
        let other = dimensions("output.weight", found, &[256, 279]);
        refuse(with("output.weight", found, TensorType::Q8_0), other);
    }
    let factors = || ModelProblem::RopeFactors { tensor: "rope_freqs.weight", n: 32 };
    let zero = || ModelProblem::RopeFactor { tensor: "rope_freqs.weight", found: 0.0 };
    refuse(with("rope_freqs.weight", &[32], TensorType::F16), factors());
    refuse(with("rope_freqs.weight", &[16], TensorType::F32), factors());
    refuse(with("rope_freqs.weight", &[32, 2], TensorType::F32), zero());
    // Zeros as divisors.
    refuse(with("rope_freqs.weight", &[32], TensorType::F32), zero());

    let mut norm = Writer::new(tiny().metadata());
    norm.tensor("token_embd.weight", &[256, 279], TensorType::F16, vec![0; 2 * 256 * 279]).unwrap();
    norm.tensor("output_norm.weight", &[256], TensorType::F16, vec![0; 512]).unwrap();
    refuse(norm, not_f32("output_norm.weight"));

    let mut writer = Writer::new(tiny().metadata());
    writer.tensor("token_embd.weight", &[256], TensorType::F32, vec![0; 1024]).unwrap();
    refuse(writer, dimensions("token_embd.weight", &[256], &[]));
    refuse(Writer::new(tiny().metadata()), missing("token_embd.weight"));
}

#[test]
fn random_metadata_never_panics() {
    let scratch = Scratch::new();
    let writer = tiny().writer(tiny().metadata()).unwrap();
    writer.write(&scratch.path()).unwrap();
    let valid = std::fs::read(scratch.path()).unwrap();
    let header_len = nightgraft_gguf::parse(&valid).unwrap().data_offset as usize;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let mut outcomes = [0; 3];
    for _ in 0..1_000 {
        let mut bytes = valid.clone();
        for _ in 0..rng.random_range(1..5) {
            // Most of the header is the vocabulary: aim at the keys before it.
            let end = if rng.random() { 900 } else { header_len };
            bytes[rng.random_range(24..end)] = rng.random();
        }
        std::fs::write(scratch.path(), bytes).unwrap();
        outcomes[match ModelFile::open(&scratch.path()).map(Base::open) {
            Err(_) => 0,
            Ok(Err(_)) => 1,
            Ok(Ok(base)) => {
                let mut row = vec![0.0; base.spec.n_embd];
                base.embed(&[0], &mut row).unwrap();
                2
            }
        }] += 1;
    }
    assert!(outcomes.iter().all(|&n| n > 10), "not every outcome was tried: {outcomes:?}");
}

#[test]
fn names_of_modules_are_reversible() {
    for module in Module::ALL {
        assert_eq!(Module::from_gguf_name(module.gguf_name()), Some(module));
        assert_eq!(Module::from_hf_name(module.hf_name()), Some(module));
        assert_eq!(serde_json::to_value(module).unwrap(), module.gguf_name());
    }
    assert_eq!(Module::FfnDown.tensor_name(12), "blk.12.ffn_down.weight");
    assert_eq!(Module::from_gguf_name("attn_norm"), None);
}

/// By hand: `NIGHTGRAFT_TEST_MODEL=model.gguf cargo test -- --ignored a_real_model`.
#[test]
#[ignore = "needs a model file"]
fn a_real_model_opens() {
    let path = PathBuf::from(std::env::var_os("NIGHTGRAFT_TEST_MODEL").unwrap());
    let start = std::time::Instant::now();
    let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
    println!("{:?} in {:?}\n{:?}", base.fingerprint(), start.elapsed(), base.spec);
    let table = Weights::new(
        base.token_embd.kind,
        base.token_embd.n_rows,
        base.token_embd.n_cols,
        base.weight_bytes(&base.token_embd),
    );
    let mut row = vec![0.0; base.spec.n_embd];
    table.unwrap().dequantize_row(0, &mut row);
    assert!(row.iter().all(|value| value.is_finite()) && row.iter().any(|&value| value != 0.0));
}
