//! Round trips, merging, and adapters that must be refused.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use nightgraft_adapter::{AdapterTensors, Factor, LoraPair, LoraSpec, Mismatch, Module, PairProblem};
use nightgraft_ggml::weight_types;
use nightgraft_gguf::{Metadata, TensorType, Value, Writer};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::TinyModel;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value as Json, json};

use super::hugging_face::source_rows;
use super::peft::{CONFIG, TENSORS};
use super::*;
use crate::base::{Base, ModelSpec, QkvProjection, RopeLayout, supported_architectures};
use crate::error::{AdapterMetadataProblem, AdapterProblem, ForeignAdapter, OtherBase, PeftProblem};
use crate::model_file::ModelFile;
use crate::{Error, Result};

struct Bench {
    folder: tempfile::TempDir,
    base: Base,
}

impl Bench {
    fn new(kind: WeightType) -> Self {
        Self::of("llama", kind)
    }

    fn of(architecture: &'static str, kind: WeightType) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.gguf");
        TinyModel { architecture, n_layer: 3, ..TinyModel::new(kind) }.write(&path).unwrap();
        let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
        Self { folder, base }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Random factors at the given places, ranks in turn.
    fn adapter(&self, places: &[(usize, Module)], ranks: &[usize]) -> AdapterTensors {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut numbers = |n| (0..n).map(|_| rng.random_range(-0.02..0.02)).collect();
        let pairs: BTreeMap<_, _> = places
            .iter()
            .zip(ranks.iter().cycle())
            .map(|(&(layer, module), &rank)| {
                let (n_out, n_in) = self.base.spec.module_shape(layer, module).unwrap();
                let pair =
                    LoraPair { rank, n_in, n_out, a: numbers(rank * n_in), b_t: numbers(rank * n_out) };
                ((layer, module), pair)
            })
            .collect();
        AdapterTensors { spec: peft::spec(&pairs, 16.0, 0.0), pairs }
    }

    fn whole_adapter(&self) -> AdapterTensors {
        let modules = |layer| self.base.spec.modules(layer).into_iter().map(move |module| (layer, module));
        let places: Vec<_> = (0..3).flat_map(modules).collect();
        self.adapter(&places, &[4])
    }

    fn written_config(&self, tensors: &AdapterTensors) -> Json {
        let folder = self.path("config");
        write_peft(&folder, tensors, &self.base).unwrap();
        serde_json::from_slice(&fs::read(folder.join(CONFIG)).unwrap()).unwrap()
    }

    /// Why the adapter at `path` is not read.
    fn problem(&self, path: &Path) -> AdapterProblem {
        match read_adapter(path, &self.base).unwrap_err() {
            Error::Adapter { problem, .. } => problem,
            other => unreachable!("{other}"),
        }
    }

    fn refuses(&self, path: &Path, because: impl Into<AdapterProblem>) {
        assert_eq!(self.problem(path), because.into(), "{}", path.display());
    }
}

fn read_adapter(path: &Path, base: &Base) -> Result<AdapterTensors> {
    Ok(import_adapter(path, base)?.tensors)
}

/// The name of a tensor of PEFT's, in models whose matrices are apart.
fn tensor_name(layer: usize, module: Module, factor: Factor) -> String {
    let factor = match factor {
        Factor::A => "lora_A",
        Factor::B => "lora_B",
    };
    format!("base_model.model.model.layers.{layer}.{}.{factor}.weight", module.hf_name())
}

/// `reshape(n_head, 2, head_dim / 2).swapaxes(1, 2)`, index by index.
fn converted(n_head: usize, head_dim: usize) -> Vec<usize> {
    let mut order = Vec::new();
    for head in 0..n_head {
        for j in 0..head_dim / 2 {
            for p in 0..2 {
                order.push(head * head_dim + p * (head_dim / 2) + j);
            }
        }
    }
    order
}

#[test]
fn rows_are_permuted_as_the_converter_does() {
    let spec = &Bench::new(WeightType::F16).base.spec;
    let q = source_rows(spec, 0, Module::AttnQ).unwrap();
    assert_eq!(q, converted(4, 64));
    assert_eq!(source_rows(spec, 0, Module::AttnK).unwrap(), converted(2, 64));
    assert_eq!(source_rows(spec, 0, Module::AttnV), None);
    assert_eq!(source_rows(spec, 0, Module::FfnDown), None);
    let halves = ModelSpec { rope_layout: RopeLayout::Halves, ..spec.clone() };
    assert_eq!(source_rows(&halves, 0, Module::AttnQ), None);
    // Rows of queries and keys come first where all are in one matrix.
    let mut fused = spec.clone();
    fused.layers[0].attention_mut().projection = QkvProjection::Fused;
    let values = (384..512).collect::<Vec<_>>();
    assert_eq!(source_rows(&fused, 0, Module::AttnQkv).unwrap(), [converted(6, 64), values].concat());

    // Every row once, and there and back is the identity.
    let mut sorted = q.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..q.len()));
    let b_t: Vec<f32> = (0..3 * q.len()).map(|i| i as f32).collect();
    let b = hugging_face::b_to_hugging_face(&b_t, 3, q.len(), Some(&q));
    assert_eq!(hugging_face::b_from_hugging_face(&b, 3, q.len(), Some(&q)), b_t);
    // Row 1 of the file is row 32 of the original, whose 3 numbers stand together there.
    assert_eq!(b[32 * 3..33 * 3], [1.0, (q.len() + 1) as f32, (2 * q.len() + 1) as f32]);
}

#[test]
fn tensor_names_come_apart() {
    let spec = &Bench::new(WeightType::F16).base.spec;
    for (layer, module) in [(0, Module::AttnQ), (29, Module::FfnDown)] {
        for factor in Factor::BOTH {
            let name = hugging_face::tensor_name(spec, layer, module, factor);
            assert_eq!(name, tensor_name(layer, module, factor));
            assert_eq!(hugging_face::parse_tensor_name(&name), Some((layer, module, factor)));
        }
    }
    assert_eq!(
        tensor_name(3, Module::AttnQ, Factor::A),
        "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"
    );
    let parse = hugging_face::parse_tensor_name;
    assert_eq!(
        parse("base_model.model.model.language_model.layers.3.mlp.up_proj.lora_B.weight"),
        Some((3, Module::FfnUp, Factor::B))
    );
    assert!(parse("base_model.model.model.layers.3.mlp.up_proj.lora_B.default.weight").is_some());
    assert!(parse("model.layers.3.mlp.up_proj.lora_B.weight").is_some());
    for wrong in [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.03.mlp.up_proj.lora_A.weight",
        "base_model.model.model.layers.-1.mlp.up_proj.lora_A.weight",
        "base_model.model.model.layers.3.mlp.up_proj.lora_A.bias",
        "base_model.model.model.layers.3.mlp.up_proj.lora_C.weight",
        "base_model.model.model.layers.3.mlp.lora_A.weight",
        "",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

#[test]
fn both_formats_give_back_the_same_numbers() {
    let bench = Bench::new(WeightType::Q8_0);
    let irregular = [(0, Module::AttnV), (2, Module::AttnQ), (2, Module::AttnK)];
    for tensors in [
        bench.whole_adapter(),
        bench.adapter(&[(1, Module::AttnQ), (2, Module::AttnQ)], &[1]),
        bench.adapter(&irregular, &[2]),
        bench.adapter(&irregular, &[2, 8]),
    ] {
        let (peft, gguf) = (bench.path("peft"), bench.path("adapter.gguf"));
        write_peft(&peft, &tensors, &bench.base).unwrap();
        write_gguf_adapter(&gguf, &tensors, &bench.base).unwrap();
        for path in [peft.clone(), peft.join(TENSORS), peft.join(CONFIG), gguf] {
            assert_eq!(read_adapter(&path, &bench.base).unwrap(), tensors, "{}", path.display());
        }
    }
}

#[test]
fn both_formats_give_back_the_same_numbers_for_every_architecture() {
    for architecture in supported_architectures() {
        let bench = Bench::of(architecture, WeightType::Q8_0);
        let tensors = bench.whole_adapter();
        let (peft, gguf, merged) =
            (bench.path("peft"), bench.path("adapter.gguf"), bench.path("merged.gguf"));
        write_peft(&peft, &tensors, &bench.base).unwrap();
        write_gguf_adapter(&gguf, &tensors, &bench.base).unwrap();
        for path in [peft, gguf] {
            assert_eq!(read_adapter(&path, &bench.base).unwrap(), tensors, "{architecture}");
        }
        let report = write_merged(&merged, &tensors, &bench.base, &mut |_, _| {}).unwrap();
        assert_eq!(report.tensors.len(), tensors.pairs.len(), "{architecture}");
        let merged = Base::open(ModelFile::open(&merged).unwrap()).unwrap();
        assert_eq!(merged.spec, bench.base.spec, "{architecture}");
    }
}

#[test]
fn fused_matrices_have_names_of_their_own() {
    let bench = Bench::of("phi3", WeightType::Q8_0);
    let tensors = bench.whole_adapter();
    let config = bench.written_config(&tensors);
    assert_eq!(config["target_modules"], json!(["o_proj", "gate_up_proj", "down_proj", "qkv_proj"]));
    write_peft(&bench.path("peft"), &tensors, &bench.base).unwrap();
    let names = target::tensor_names(&bench.path("peft").join(TENSORS)).unwrap();
    for (name, shape) in [("self_attn.qkv_proj", "512"), ("mlp.gate_up_proj", "1024")] {
        let name = format!("base_model.model.model.layers.2.{name}.lora_B.weight");
        assert!(names.contains(&name), "{name} of {shape} rows");
    }
    // A matrix of another model.
    let other = Bench::new(WeightType::Q8_0);
    write_peft(&bench.path("other"), &other.whole_adapter(), &other.base).unwrap();
    let problem = bench.problem(&bench.path("other"));
    assert!(matches!(problem, AdapterProblem::NoSuchMatrix { module: Module::AttnQ, .. }), "{problem}");
    write_gguf_adapter(&bench.path("other.gguf"), &other.whole_adapter(), &other.base).unwrap();
    let mismatched = write_peft(&bench.path("mismatched"), &other.whole_adapter(), &bench.base).unwrap_err();
    let place = Mismatch::Module { layer: 0, module: Module::AttnQ };
    assert!(matches!(mismatched, Error::Adapter { problem, .. } if problem == place.into()));
}

#[test]
fn the_same_adapter_gives_the_same_bytes() {
    let bench = Bench::new(WeightType::Q8_0);
    let tensors = bench.whole_adapter();
    let bytes = |name| {
        write_peft(&bench.path(name), &tensors, &bench.base).unwrap();
        [CONFIG, TENSORS].map(|file| fs::read(bench.path(name).join(file)).unwrap())
    };
    assert!(bytes("one") == bytes("two"));
}

#[test]
fn the_configuration_says_what_peft_needs() {
    let bench = Bench::new(WeightType::Q8_0);
    let config = bench.written_config(&bench.whole_adapter());
    insta::assert_snapshot!(serde_json::to_string_pretty(&config).unwrap(), @r#"
    {
      "alpha_pattern": {},
      "base_model_name_or_path": null,
      "bias": "none",
      "fan_in_fan_out": false,
      "inference_mode": true,
      "init_lora_weights": true,
      "layers_pattern": null,
      "layers_to_transform": null,
      "lora_alpha": 16,
      "lora_dropout": 0,
      "modules_to_save": null,
      "peft_type": "LORA",
      "r": 4,
      "rank_pattern": {},
      "revision": null,
      "target_modules": [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj"
      ],
      "task_type": "CAUSAL_LM",
      "use_dora": false,
      "use_rslora": false
    }
    "#);

    let mut some_layers = bench.adapter(&[(1, Module::AttnQ), (2, Module::AttnQ)], &[2]);
    some_layers.spec = LoraSpec { alpha: 0.1, dropout: 0.05, ..some_layers.spec };
    let config = bench.written_config(&some_layers);
    assert_eq!(config["layers_to_transform"], json!([1, 2]));
    assert_eq!(config["target_modules"], json!(["q_proj"]));
    assert_eq!((&config["lora_alpha"], &config["lora_dropout"]), (&json!(0.1), &json!(0.05)));

    let irregular = bench.adapter(&[(0, Module::AttnV), (2, Module::FfnUp)], &[2, 4]);
    let config = bench.written_config(&irregular);
    assert_eq!(config["layers_to_transform"], json!(null));
    assert_eq!(
        config["target_modules"],
        json!(["model.layers.0.self_attn.v_proj", "model.layers.2.mlp.up_proj"])
    );
    assert_eq!(
        (&config["r"], &config["rank_pattern"]),
        (&json!(4), &json!({"model.layers.0.self_attn.v_proj": 2}))
    );
}

/// A PEFT folder made by hand.
#[derive(Clone)]
struct Handmade {
    config: Json,
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Handmade {
    /// One pair of rank 2 on `attn_v` of layer 0, all numbers 0.5.
    fn new() -> Self {
        let half = |n: usize| 0.5f32.to_le_bytes().repeat(n);
        let name = |factor| tensor_name(0, Module::AttnV, factor);
        Self {
            config: json!({"peft_type": "LORA", "r": 2, "lora_alpha": 6, "lora_dropout": 0.25, "bias": "none"}),
            tensors: vec![
                (name(Factor::A), Dtype::F32, vec![2, 256], half(512)),
                (name(Factor::B), Dtype::F32, vec![128, 2], half(256)),
            ],
        }
    }

    fn write(&self, folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(CONFIG), self.config.to_string()).unwrap();
        let views: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()))
            .collect();
        fs::write(folder.join(TENSORS), safetensors::serialize(views, None::<HashMap<_, _>>).unwrap())
            .unwrap();
        folder.to_owned()
    }
}

#[test]
fn other_number_types_and_scales_are_understood() {
    let bench = Bench::new(WeightType::Q8_0);
    let mut handmade = Handmade::new();
    let read = |handmade: &Handmade| read_adapter(&handmade.write(&bench.path("in")), &bench.base).unwrap();
    let plain = read(&handmade);
    let expected =
        LoraSpec { rank: 2, alpha: 6.0, modules: vec![Module::AttnV], layers: 0..1, dropout: 0.25 };
    assert_eq!(plain.spec, expected);
    assert!(plain.pairs[&(0, Module::AttnV)].a.iter().all(|&value| value == 0.5));

    handmade.tensors[0].1 = Dtype::F16;
    handmade.tensors[0].3 = f16::from_f32(0.5).to_le_bytes().repeat(512);
    handmade.tensors[1].1 = Dtype::BF16;
    handmade.tensors[1].3 = bf16::from_f32(0.5).to_le_bytes().repeat(256);
    assert_eq!(read(&handmade), plain);

    // alpha / √r is (alpha · √r) / r.
    handmade.config["use_rslora"] = json!(true);
    assert_eq!(read(&handmade).spec.alpha, 6.0 * 2f32.sqrt());
    handmade.config["rank_pattern"] = json!({"v_proj": 2});
    handmade.config["r"] = json!(64);
    assert_eq!(read(&handmade).spec.rank, 2);
}

/// The only module of a [`Handmade`].
const MODULE: &str = "model.layers.0.self_attn.v_proj";

#[test]
fn unusable_configurations_of_peft_are_refused() {
    let bench = Bench::new(WeightType::Q8_0);
    let path = || MODULE.to_owned();
    let refuses = |key: &str, value: Json, because: PeftProblem| {
        let mut handmade = Handmade::new();
        handmade.config[key] = value;
        bench.refuses(&handmade.write(&bench.path("in")), because);
    };
    refuses("peft_type", json!("IA3"), PeftProblem::Method("IA3".into()));
    refuses("peft_type", json!(null), PeftProblem::NoMethod);
    refuses("use_dora", json!(true), PeftProblem::Option("use_dora", "DoRA (weight-decomposed) adapters"));
    refuses("lora_bias", json!(true), PeftProblem::Option("lora_bias", "biases on the adapter"));
    let whole = PeftProblem::Option("modules_to_save", "whole modules beside the adapter");
    refuses("modules_to_save", json!(["lm_head"]), whole);
    refuses("bias", json!("all"), PeftProblem::Bias("all".into()));
    for pattern in ["v_proj", ".*_proj"] {
        let own = PeftProblem::OtherAlpha { path: path(), alpha: 3.0 };
        refuses("alpha_pattern", json!({pattern: 3}), own);
    }
    for pattern in ["v_proj", "^model.layers.0.*"] {
        let other = PeftProblem::OtherRank { path: path(), says: 4, has: 2 };
        refuses("rank_pattern", json!({pattern: 4}), other);
    }
    refuses("r", json!(3), PeftProblem::OtherRank { path: path(), says: 3, has: 2 });
    for (option, value) in [
        ("alpha_pattern", json!(3)),
        ("rank_pattern", json!({"(v_proj": 2})),
        ("rank_pattern", json!({"v_proj": "2"})),
        ("layers_to_transform", json!("0")),
        ("exclude_modules", json!("(v_proj")),
        ("exclude_modules", json!(r"(([a-z0-9_.]+)+)+(?=!)!")),
    ] {
        refuses(option, value, PeftProblem::Senseless { option });
    }
    for (option, value) in [
        ("layers_to_transform", json!(1)),
        ("layers_to_transform", json!([1, 2])),
        ("exclude_modules", json!(["o_proj", "v_proj"])),
        ("exclude_modules", json!(".*v_proj")),
        ("target_modules", json!(["q_proj"])),
        ("target_modules", json!(".*q_proj")),
        ("target_modules", json!("v_proj")),
    ] {
        refuses(option, value, PeftProblem::LeftOut { option, path: path() });
    }
    refuses("r", json!(0), PeftProblem::Rank);
    refuses("r", json!("8"), PeftProblem::Rank);
    refuses("lora_alpha", json!(0), PeftProblem::Alpha);
    refuses("lora_alpha", json!(null), PeftProblem::Alpha);
    refuses("lora_alpha", json!(1e60), PeftProblem::AlphaOutOfRange);
    let mut list = Handmade::new();
    list.config = json!([1]);
    bench.refuses(&list.write(&bench.path("in")), PeftProblem::NotAnObject);
}

#[test]
fn unusable_tensors_of_peft_are_refused() {
    let bench = Bench::new(WeightType::Q8_0);
    let tensor = |factor| tensor_name(0, Module::AttnV, factor);
    let (a, b) = (|| tensor(Factor::A), || tensor(Factor::B));
    let refuses = |because: AdapterProblem, change: &dyn Fn(&mut Handmade)| {
        let mut handmade = Handmade::new();
        change(&mut handmade);
        bench.refuses(&handmade.write(&bench.path("in")), because);
    };
    let other_shape = |factor, width, rank, found: &[usize]| AdapterProblem::Shape {
        tensor: tensor(factor),
        factor,
        width,
        rank,
        found: found.to_vec(),
    };
    refuses(AdapterProblem::NoPartner { tensor: a() }, &|handmade| drop(handmade.tensors.remove(0)));
    refuses(AdapterProblem::NoPartner { tensor: b() }, &|handmade| drop(handmade.tensors.remove(1)));
    refuses(AdapterProblem::NoTensors, &|handmade| handmade.tensors.clear());
    for shape in [&[4, 128][..], &[512]] {
        refuses(other_shape(Factor::A, 256, 0, shape), &|handmade| handmade.tensors[0].2 = shape.to_vec());
    }
    refuses(other_shape(Factor::B, 128, 2, &[2, 128]), &|handmade| handmade.tensors[1].2 = vec![2, 128]);
    refuses(other_shape(Factor::A, 256, 0, &[0, 256]), &|handmade| {
        (handmade.tensors[0].2, handmade.tensors[0].3) = (vec![0, 256], vec![]);
    });
    let integers = AdapterProblem::Numbers { tensor: a(), found: Dtype::I32 };
    refuses(integers, &|handmade| handmade.tensors[0].1 = Dtype::I32);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut handmade = Handmade::new();
        handmade.tensors[0].3[40..44].copy_from_slice(&bad.to_le_bytes());
        let problem = bench.problem(&handmade.write(&bench.path("in")));
        let is_it = |value: f32| value.to_bits() == bad.to_bits();
        assert!(
            matches!(&problem, AdapterProblem::Pair { name, problem: PairProblem::NotFinite { factor: Factor::A, value } }
                if name == MODULE && is_it(*value)),
            "{problem}"
        );
    }
    let head = || "base_model.model.lm_head.lora_A.weight".to_owned();
    let part = AdapterProblem::ForeignPart { tensor: head(), part: "an adapter on the head" };
    refuses(part, &|handmade| handmade.tensors[0].0 = head());
    let fourth = || tensor_name(3, Module::AttnV, Factor::A);
    let beyond = AdapterProblem::NoSuchLayer { tensor: fourth(), n_layer: 3 };
    refuses(beyond, &|handmade| handmade.tensors[0].0 = fourth());
    let mut twice = Handmade::new();
    let mut again = twice.tensors[0].clone();
    again.0 = again.0.replace("base_model.model.", "");
    twice.tensors.push(again);
    let problem = bench.problem(&twice.write(&bench.path("in")));
    assert!(matches!(problem, AdapterProblem::Repeated { .. }), "{problem}");
}

#[test]
fn folders_and_files_that_are_no_adapter_are_refused() {
    let bench = Bench::new(WeightType::Q8_0);
    let folder = Handmade::new().write(&bench.path("in"));
    fs::write(folder.join(CONFIG), "{").unwrap();
    assert!(matches!(bench.problem(&folder), AdapterProblem::Peft(PeftProblem::Json(_))));
    fs::write(folder.join(CONFIG), vec![b' '; 2 << 20]).unwrap();
    bench.refuses(&folder, AdapterProblem::ConfigurationTooLarge { bytes: 2 << 20 });
    fs::remove_file(folder.join(CONFIG)).unwrap();
    bench.refuses(&folder, AdapterProblem::NoConfiguration);
    bench.refuses(&folder.join(TENSORS), AdapterProblem::NoConfiguration);
    let folder = Handmade::new().write(&bench.path("in"));
    fs::write(folder.join(TENSORS), b"").unwrap();
    bench.refuses(&folder, AdapterProblem::Empty);
    fs::remove_file(folder.join(TENSORS)).unwrap();
    bench.refuses(&folder, AdapterProblem::NoTensorFile);
    fs::write(folder.join("adapter_model.bin"), b"PK\x03\x04").unwrap();
    bench.refuses(&folder, ForeignAdapter::PickledPeft);

    assert!(matches!(read_adapter(&bench.path("nothing"), &bench.base), Err(Error::Io(_))));
    fs::write(bench.path("text"), "hello").unwrap();
    bench.refuses(&bench.path("text"), AdapterProblem::UnknownForm);
    fs::create_dir(bench.path("run")).unwrap();
    bench.refuses(&bench.path("run"), AdapterProblem::NoAdapter);
    let inside = Handmade::new().write(&bench.path("run/adapter"));
    bench.refuses(&bench.path("run"), AdapterProblem::Inside(inside));
}

#[test]
fn adapters_that_are_not_plain_lora_are_refused_by_name() {
    let bench = Bench::new(WeightType::Q8_0);
    let written = |key: &str, value: Json| {
        let mut handmade = Handmade::new();
        handmade.config[key] = value;
        handmade.write(&bench.path("in"))
    };
    for start in ["pissa", "pissa_niter_16", "PiSSA", "olora", "OLoRA", "corda", "loftq", "lora_ga"] {
        let folder = written("init_lora_weights", json!(start));
        bench.refuses(&folder, PeftProblem::ChangedBase(start.to_owned()));
    }
    let unknown = PeftProblem::UnknownStart("next_year's".into());
    bench.refuses(&written("init_lora_weights", json!("next_year's")), unknown);
    for start in [
        json!(true),
        json!(false),
        json!(null),
        json!("gaussian"),
        json!("eva"),
        json!("orthogonal"),
        json!("mica"),
    ] {
        read_adapter(&written("init_lora_weights", start), &bench.base).unwrap();
    }
    for method in ["LOHA", "LOKR", "IA3", "VERA", "ADALORA", "OFT", "BOFT", "MISS", "XLORA"] {
        bench.refuses(&written("peft_type", json!(method)), PeftProblem::Method(method.to_owned()));
    }
    for (key, value) in [
        ("velora_config", json!({"num_groups": 2})),
        ("arrow_config", json!({"top_k": 2})),
        ("megatron_config", json!({"tensor_model_parallel_size": 2})),
        ("modules_to_save", json!(["lm_head"])),
        ("use_bdlora", json!({"nblocks": 2})),
    ] {
        let problem = bench.problem(&written(key, value));
        let is_named = |option| option == key;
        assert!(
            matches!(problem, AdapterProblem::Peft(PeftProblem::Option(option, _)) if is_named(option)),
            "{problem}"
        );
    }
    bench.refuses(&written("bias", json!("lora_only")), PeftProblem::Bias("lora_only".into()));
    let unknown = PeftProblem::UnknownOptions(vec!["use_tomorrow".into()]);
    bench.refuses(&written("use_tomorrow", json!(true)), unknown);
    for (key, value) in [
        ("use_tomorrow", json!(false)),
        ("megatron_core", json!("megatron.core")),
        ("auto_mapping", json!({"base_model_class": "LlamaForCausalLM"})),
        ("exclude_modules", json!(["lm_head", "proj"])),
        ("exclude_modules", json!("v_proj")),
        ("exclude_modules", json!("")),
        ("target_modules", json!(null)),
        ("target_modules", json!("all-linear")),
        ("target_modules", json!(r"model\.layers\.\d+\.self_attn\.(q|v)_proj")),
        ("target_modules", json!(["self_attn.v_proj", "lm_head"])),
        ("alpha_pattern", json!({})),
        ("alpha_pattern", json!({"q_proj": 4, "v_proj": 6, "self_attn.v_proj": 9})),
        ("fan_in_fan_out", json!(true)),
        ("rank_pattern", json!({"q_proj": 4, "_proj": 4, "layers.1.self_attn.v_proj": 4})),
        ("rank_pattern", json!({"self_attn.(q|v)_proj": 2, "v_proj": 4})),
        ("layers_to_transform", json!(0)),
        ("layers_to_transform", json!([0, 5])),
        ("layers_to_transform", json!([])),
        ("corda_config", json!({"cache_file": "x"})),
        ("qalora_group_size", json!(16)),
    ] {
        read_adapter(&written(key, value), &bench.base).unwrap();
    }
    for (tensor, part) in [
        ("layers.0.self_attn.v_proj.lora_magnitude_vector", "the magnitudes of a DoRA adapter"),
        ("layers.0.self_attn.v_proj.lora_B.bias", "a bias on the adapter"),
        ("lm_head.lora_A.weight", "an adapter on the head"),
        ("model.embed_tokens.lora_embedding_A", "an adapter on the embedding"),
        ("layers.0.self_attn.v_proj.hada_w1_a", "a part of a LoHa adapter"),
        ("layers.0.self_attn.v_proj.lora_E", "a part of an AdaLoRA adapter"),
    ] {
        let mut handmade = Handmade::new();
        let tensor = format!("base_model.model.{tensor}");
        handmade.tensors[0].0.clone_from(&tensor);
        bench.refuses(&handmade.write(&bench.path("in")), AdapterProblem::ForeignPart { tensor, part });
    }
}

#[test]
fn what_other_trainers_write_is_named() {
    let bench = Bench::new(WeightType::Q8_0);
    let folder = |name: &str, files: &[(&str, &[u8])]| {
        let folder = bench.path(name);
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(file, bytes)| fs::write(folder.join(file), bytes).unwrap());
        folder
    };
    let safetensors = |name: &str| {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let mlx: &[u8] =
        br#"{"fine_tune_type": "lora", "num_layers": 16, "lora_parameters": {"rank": 8, "scale": 20.0}}"#;
    let mlx_tensors = safetensors("model.layers.0.self_attn.q_proj.lora_a");
    let zip: &[u8] = b"PK\x03\x04";
    let with_configuration =
        folder("mlx", &[("adapter_config.json", mlx), ("adapters.safetensors", &mlx_tensors)]);
    bench.refuses(&with_configuration, PeftProblem::Foreign(ForeignAdapter::MlxLm));
    for (name, files, trainer) in [
        ("mlx2", &[("adapters.safetensors", &mlx_tensors[..])][..], ForeignAdapter::MlxLm),
        ("torchtune", &[("adapter_0.pt", zip)], ForeignAdapter::Torchtune),
        ("litgpt", &[("lit_model.pth.lora", zip)], ForeignAdapter::LitGpt),
        ("hub", &[("pytorch_adapter.bin", zip), ("head_config.json", b"{}")], ForeignAdapter::AdapterHub),
        ("pickle", &[("adapter_model.bin", zip)], ForeignAdapter::PickledPeft),
        ("whole", &[("config.json", b"{}"), ("model.safetensors", &mlx_tensors)], ForeignAdapter::WholeModel),
    ] {
        bench.refuses(&folder(name, files), trainer);
    }
    let files = folder(
        "files",
        &[("old.bin", b"algg\x01\0\0\0"), ("adapter_0.pt", zip), ("some.pt", &[0x80, 2, 0x7d])],
    );
    bench.refuses(&files.join("old.bin"), ForeignAdapter::Ggla);
    bench.refuses(&files.join("adapter_0.pt"), ForeignAdapter::Torchtune);
    bench.refuses(&files.join("some.pt"), ForeignAdapter::Pickle);
    for (tensor, trainer) in [
        ("lora_unet_down_blocks_0.lora_down.weight", ForeignAdapter::Kohya),
        ("unet.down_blocks.0.lora_A.weight", ForeignAdapter::Diffusers),
        ("model.layers.0.self_attn.q_proj.lora_a", ForeignAdapter::MlxLm),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", ForeignAdapter::BarePeft),
        ("model.layers.0.self_attn.q_proj.weight", ForeignAdapter::WholeModel),
    ] {
        fs::write(files.join("x.safetensors"), safetensors(tensor)).unwrap();
        bench.refuses(&files.join("x.safetensors"), trainer);
    }
    let inside = Handmade::new().write(&bench.path("trainer/checkpoint-20"));
    bench.refuses(&bench.path("trainer"), AdapterProblem::Inside(inside));
}

#[test]
fn an_adapter_tells_which_model_it_was_trained_on() {
    let bench = Bench::new(WeightType::Q8_0);
    let tensors = bench.whole_adapter();
    let other = Bench::new(WeightType::Q4_0);
    let (peft, gguf) = (bench.path("peft"), bench.path("adapter.gguf"));
    write_peft(&peft, &tensors, &bench.base).unwrap();
    write_gguf_adapter(&gguf, &tensors, &bench.base).unwrap();
    for path in [peft, gguf] {
        let imported = import_adapter(&path, &bench.base).unwrap();
        assert_eq!(imported.base.other_than(&bench.base), None);
        assert_eq!(imported.base.other_than(&other.base), Some(OtherBase::Fingerprint));
        assert_eq!(imported.tensors, import_adapter(&path, &other.base).unwrap().tensors);
    }
    let mut handmade = Handmade::new();
    for (name, is_other) in
        [(json!("acme/large-7b"), true), (json!("acme/tiny-GGUF"), false), (json!(null), false)]
    {
        handmade.config["base_model_name_or_path"] = name.clone();
        let imported = import_adapter(&handmade.write(&bench.path("in")), &bench.base).unwrap();
        assert_eq!(imported.base.other_than(&bench.base).is_some(), is_other, "{name}");
    }
}

#[test]
fn unusable_gguf_adapters_are_refused() {
    let bench = Bench::new(WeightType::Q8_0);
    let path = bench.path("adapter.gguf");
    let write = |change: &dyn Fn(&mut Metadata), tensors: &[(&str, &[u64], TensorType)]| {
        let mut metadata = Metadata::new();
        for (key, value) in
            [("general.type", "adapter"), ("adapter.type", "lora"), ("general.architecture", "llama")]
        {
            metadata.insert(key, Value::String(value.into()));
        }
        metadata.insert("adapter.lora.alpha", Value::F32(8.0));
        change(&mut metadata);
        let mut writer = Writer::new(metadata);
        for (name, dims, kind) in tensors {
            let n_bytes = kind.tensor_bytes(dims).unwrap() as usize;
            writer.tensor(name, dims, *kind, vec![0; n_bytes]).unwrap();
        }
        writer.write(&path).unwrap();
    };
    let a: (&str, &[u64], _) = ("blk.0.attn_v.weight.lora_a", &[256, 2], TensorType::F32);
    let b: (&str, &[u64], _) = ("blk.0.attn_v.weight.lora_b", &[2, 128], TensorType::F16);
    write(&|_| {}, &[a, b]);
    let read = read_adapter(&path, &bench.base).unwrap();
    assert_eq!((read.spec.rank, read.spec.alpha), (2, 8.0));
    write(&|metadata| drop(metadata.insert("adapter.lora.alpha", Value::F32(0.0))), &[a, b]);
    assert_eq!(
        read_adapter(&path, &bench.base).unwrap().spec.alpha,
        2.0,
        "without alpha llama.cpp scales by 1"
    );
    // A vector is a matrix with one row.
    let one: (&str, &[u64], _) = ("blk.0.attn_v.weight.lora_a", &[256], TensorType::Q8_0);
    write(&|_| {}, &[one, ("blk.0.attn_v.weight.lora_b", &[1, 128], TensorType::F32)]);
    assert_eq!(read_adapter(&path, &bench.base).unwrap().spec.rank, 1);

    let key = |key: &'static str, value: Value, because: AdapterMetadataProblem| {
        write(&|metadata| drop(metadata.insert(key, value.clone())), &[a, b]);
        bench.refuses(&path, because);
    };
    let text = |text: &str| Value::String(text.to_owned());
    key("general.type", text("model"), AdapterMetadataProblem::Model { found: "model".into() });
    key("general.type", text("mmproj"), AdapterMetadataProblem::Type { found: "mmproj".into() });
    let other = AdapterMetadataProblem::Architecture { theirs: "qwen2".into(), ours: "llama".into() };
    key("general.architecture", text("qwen2"), other);
    let method = AdapterMetadataProblem::Method { found: "control_vector".into() };
    key("adapter.type", text("control_vector"), method);
    key("adapter.lora.alpha", Value::F32(f32::NAN), AdapterMetadataProblem::Alpha);
    key("adapter.lora.alpha", text("8"), AdapterMetadataProblem::Alpha);
    key("adapter.alora.invocation_tokens", Value::U32(1), AdapterMetadataProblem::Invocation);
    let base = bench.base.file();
    let kind = base.metadata().string("general.type").unwrap_or("not said").to_owned();
    bench.refuses(base.path(), AdapterMetadataProblem::Model { found: kind });

    let tensors = |because: AdapterProblem, tensors: &[(&str, &[u64], TensorType)]| {
        write(&|_| {}, tensors);
        bench.refuses(&path, because);
    };
    let dimensions = |factor, width, rank, found: &[u64]| AdapterProblem::Dimensions {
        tensor: if factor == Factor::A { a.0.to_owned() } else { b.0.to_owned() },
        factor,
        width,
        rank,
        found: found.to_vec(),
    };
    tensors(AdapterProblem::NoPartner { tensor: a.0.into() }, &[b]);
    tensors(AdapterProblem::NoPartner { tensor: b.0.into() }, &[a]);
    tensors(AdapterProblem::NoTensors, &[]);
    for (others, tensor) in [(&[a, b][..], "token_embd.weight.lora_a"), (&[], "blk.00.attn_v.weight.lora_a")]
    {
        let foreign: (&str, &[u64], _) = (tensor, &[256, 2], TensorType::F32);
        let because = AdapterProblem::NoFactorOfMatrix { tensor: tensor.into() };
        tensors(because, &[others, &[foreign]].concat());
    }
    let fourth = "blk.3.attn_v.weight.lora_a";
    let beyond = AdapterProblem::NoSuchLayer { tensor: fourth.into(), n_layer: 3 };
    tensors(beyond, &[(fourth, &[256, 2], TensorType::F32)]);
    tensors(dimensions(Factor::A, 256, 0, &[128, 2]), &[(a.0, &[128, 2], TensorType::F32), b]);
    tensors(dimensions(Factor::B, 128, 2, &[4, 64]), &[a, (b.0, &[4, 64], TensorType::F32)]);
    tensors(dimensions(Factor::A, 256, 0, &[256, 2, 2]), &[(a.0, &[256, 2, 2], TensorType::F32), b]);
    let integers = AdapterProblem::Format { tensor: a.0.into(), found: TensorType::I32 };
    tensors(integers, &[(a.0, &[256, 2], TensorType::I32), b]);
}

#[test]
fn damaged_adapters_never_panic() {
    let bench = Bench::new(WeightType::Q8_0);
    let tensors = bench.adapter(&[(0, Module::AttnK)], &[1]);
    let (peft, gguf) = (bench.path("peft"), bench.path("adapter.gguf"));
    write_peft(&peft, &tensors, &bench.base).unwrap();
    write_gguf_adapter(&gguf, &tensors, &bench.base).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for path in [peft.join(CONFIG), peft.join(TENSORS), gguf] {
        let valid = fs::read(&path).unwrap();
        // The numbers come last; what is before them is what can mislead.
        let header = valid.len().min(700);
        let mut refused = 0;
        for round in 0..700 {
            let mut bytes = valid.clone();
            if round % 4 == 0 {
                bytes.truncate(rng.random_range(0..valid.len()));
            } else {
                (0..rng.random_range(1..4)).for_each(|_| bytes[rng.random_range(0..header)] = rng.random());
            }
            fs::write(&path, bytes).unwrap();
            refused += usize::from(read_adapter(&path, &bench.base).is_err());
        }
        assert!(refused > 200, "{refused} of {}", path.display());
        fs::write(&path, valid).unwrap();
        assert_eq!(read_adapter(&path, &bench.base).unwrap(), tensors);
    }
}

#[test]
fn an_adapter_of_another_model_is_not_written() {
    let bench = Bench::new(WeightType::Q8_0);
    let before = fs::read_dir(bench.folder.path()).unwrap().count();
    let mut tensors = bench.whole_adapter();
    let pair = tensors.pairs.remove(&(0, Module::AttnQ)).unwrap();
    tensors.pairs.insert((3, Module::AttnQ), pair.clone());
    let mut narrow = bench.whole_adapter();
    narrow.pairs.insert((0, Module::AttnK), pair);
    let mut broken = bench.whole_adapter();
    broken.pairs.get_mut(&(1, Module::FfnUp)).unwrap().b_t[5] = f32::NAN;
    let is_layer = |why: &Mismatch| *why == Mismatch::Layer { layer: 3, module: Module::AttnQ, n_layer: 3 };
    let is_shape = |why: &Mismatch| matches!(why, Mismatch::Shape { expected: (128, _), .. });
    let is_number = |why: &Mismatch| {
        let place = (1, Module::FfnUp);
        matches!(why, Mismatch::Pair { layer, module, problem: PairProblem::NotFinite { factor: Factor::B, .. } }
            if (*layer, *module) == place)
    };
    type IsTold<'a> = &'a dyn Fn(&Mismatch) -> bool;
    let cases: [(_, IsTold); 3] = [(tensors, &is_layer), (narrow, &is_shape), (broken, &is_number)];
    for (tensors, is_told) in cases {
        let path = bench.path("out");
        for result in [
            write_peft(&path, &tensors, &bench.base),
            write_gguf_adapter(&path, &tensors, &bench.base),
            write_merged(&path, &tensors, &bench.base, &mut |_, _| {}).map(drop),
        ] {
            let error = result.unwrap_err();
            let is_it = matches!(&error, Error::Adapter { problem: AdapterProblem::Mismatch(why), .. } if is_told(why));
            assert!(is_it, "{error}");
        }
    }
    assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), before, "nothing was left behind");
}

/// The matrix of a module, dequantized.
fn matrix(base: &Base, layer: usize, module: Module) -> Vec<f32> {
    let weight = base.layers[layer].module(module).unwrap();
    let weights = base.weights(weight).unwrap();
    let mut out = vec![0.0; weight.n_rows * weight.n_cols];
    out.chunks_exact_mut(weight.n_cols).enumerate().for_each(|(row, out)| weights.dequantize_row(row, out));
    out
}

#[test]
fn merged_equals_base_plus_adapter() {
    // Largest relative error of rounding in each format, as measured plus a quarter: 11 mantissa bits of F16, 8 of
    // BF16, 8-bit and 4-bit quants with a scale for 32 values, and the 6-bit K-quant.
    for (kind, bound) in [
        (WeightType::F32, 0.0),
        (WeightType::F16, 2.6e-4),
        (WeightType::BF16, 2.1e-3),
        (WeightType::Q8_0, 4.7e-3),
        (WeightType::Q6_K, 1.6e-2),
        (WeightType::Q4_0, 4.2e-2),
    ] {
        let bench = Bench::new(kind);
        let tensors = bench.adapter(&[(0, Module::AttnQ), (2, Module::FfnDown)], &[4]);
        let path = bench.path("merged.gguf");
        let mut progress = Vec::new();
        let report =
            write_merged(&path, &tensors, &bench.base, &mut |done, total| progress.push((done, total)))
                .unwrap();
        assert_eq!(progress, [(1, 2), (2, 2)]);
        assert_eq!(report.bytes, fs::metadata(&path).unwrap().len());
        let merged = Base::open(ModelFile::open(&path).unwrap()).unwrap();
        assert_eq!(merged.spec, bench.base.spec);
        assert_eq!(merged.file().metadata(), bench.base.file().metadata());

        for (&(layer, module), pair) in &tensors.pairs {
            let (before, after) = (matrix(&bench.base, layer, module), matrix(&merged, layer, module));
            let scale = f64::from(tensors.spec.alpha) / pair.rank as f64;
            let (mut error, mut whole, mut update) = (0.0, 0.0, 0.0);
            for row in 0..pair.n_out {
                for col in 0..pair.n_in {
                    let delta: f64 = (0..pair.rank)
                        .map(|k| {
                            f64::from(pair.b_t[k * pair.n_out + row]) * f64::from(pair.a[k * pair.n_in + col])
                        })
                        .sum();
                    let exact = f64::from(before[row * pair.n_in + col]) + scale * delta;
                    error += (f64::from(after[row * pair.n_in + col]) - exact).powi(2);
                    whole += exact.powi(2);
                    update += (scale * delta).powi(2);
                }
            }
            let relative = (error / whole).sqrt();
            // F32 sums differ from these f64 ones by some last bits.
            assert!(relative <= f64::max(bound, 1e-7), "{}: {relative}", kind.name());
            let reported = report.tensors.iter().find(|t| t.name == module.tensor_name(layer)).unwrap();
            assert!((reported.relative_error - relative).abs() < 1e-6, "{reported:?} {relative}");
            if bound > 0.0 {
                let to_update = (error / update).sqrt();
                assert!(
                    (reported.error_to_update / to_update - 1.0).abs() < 1e-2,
                    "{reported:?} {to_update}"
                );
            }
        }
        // What the adapter does not name is copied.
        for info in bench.base.file().tensors() {
            let copy = merged.file().tensor(&info.name).unwrap();
            let changed = report.tensors.iter().any(|tensor| tensor.name == info.name);
            assert_eq!(merged.file().bytes(copy) == bench.base.file().bytes(info), !changed, "{}", info.name);
        }
        let mean = report.tensors.iter().map(|t| t.relative_error).sum::<f64>() / 2.0;
        assert_eq!(report.mean_relative_error, mean);
        assert!(report.max_relative_error >= mean);
    }
}

/// Weights whose values are points of a lattice are packed as the next K-quant, all others in their own format.
#[test]
fn merged_weights_are_packed_in_every_format() {
    // Of two bits and less, a value has a step of a third to twice the typical value for its neighbour.
    const COARSEST: f64 = 0.4;
    for kind in weight_types() {
        let bench = Bench::new(kind);
        let tensors = bench.adapter(&[(0, Module::AttnQ)], &[4]);
        let path = bench.path("merged.gguf");
        let report = write_merged(&path, &tensors, &bench.base, &mut |_, _| {}).unwrap();
        let packed = match kind.name() {
            "IQ1_S" | "IQ1_M" | "IQ2_XXS" | "IQ2_XS" | "IQ2_S" => "Q2_K",
            "IQ3_XXS" | "IQ3_S" => "Q3_K",
            name => name,
        };
        let [tensor] = report.tensors.as_slice() else { unreachable!("one tensor was changed") };
        let base_format = (packed != kind.name()).then(|| kind.name());
        assert_eq!((tensor.format, tensor.base_format), (packed, base_format));
        assert!(tensor.relative_error < COARSEST, "{tensor:?}");
        let merged = Base::open(ModelFile::open(&path).unwrap()).unwrap();
        let format = |module| merged.layers[0].module(module).unwrap().kind.name();
        assert_eq!([Module::AttnQ, Module::AttnK].map(format), [packed, kind.name()]);
        assert!(is_own_merged(&path, &bench.base), "{}", kind.name());
    }
}

#[test]
fn merging_an_untrained_adapter_copies_the_model() {
    let bench = Bench::new(WeightType::Q4_K);
    let mut tensors = bench.whole_adapter();
    tensors.pairs.values_mut().for_each(|pair| pair.b_t.fill(0.0));
    let path = bench.path("merged.gguf");
    let report = write_merged(&path, &tensors, &bench.base, &mut |_, _| {}).unwrap();
    assert!(report.tensors.is_empty());
    assert_eq!((report.max_relative_error, report.mean_relative_error), (0.0, 0.0));
    assert!(fs::read(path).unwrap() == fs::read(bench.base.file().path()).unwrap());
}

#[test]
fn the_base_is_never_overwritten() {
    let bench = Bench::new(WeightType::Q8_0);
    let path = bench.base.file().path().to_owned();
    let before = fs::read(&path).unwrap();
    let error = write_merged(&path, &bench.whole_adapter(), &bench.base, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Adapter { problem: AdapterProblem::IsBase, .. }), "{error}");
    assert!(fs::read(&path).unwrap() == before);
}
