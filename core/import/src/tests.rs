//! Whole folders: what becomes of them, and how they are refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use half::bf16;
use nightgraft_gguf::{GgufHeader, TensorType, Value};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{HuggingFaceFolder, TinyModel, Vocabulary};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use crate::*;

/// A recipe's folder, and a place for the result.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(recipe: &HuggingFaceFolder) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        recipe.write(place.folder.path()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn import(&self, quantization: Quantization) -> Result<Report> {
        self.import_with(quantization, &mut |_, _| ControlFlow::Continue(()))
    }

    fn import_with(
        &self,
        quantization: Quantization,
        on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Report> {
        let source = Source::read(self.folder.path(), Some("tiny"))?;
        let request = Request { source: &source, quantization, out: &self.path("out.gguf") };
        import(&request, &zeros, on_progress)
    }

    /// The import's error, with nothing left of it.
    fn refused(&self) -> Error {
        let error = self.import(Quantization::F32).unwrap_err();
        assert_eq!(self.leftovers(), [""; 0], "{error}");
        error
    }

    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.contains("gguf") || name.contains("ngtmp"));
        names
    }

    /// The result: its bytes and its header.
    fn result(&self) -> (Vec<u8>, GgufHeader) {
        let bytes = fs::read(self.path("out.gguf")).unwrap();
        let header = nightgraft_gguf::parse(&bytes).unwrap();
        (bytes, header)
    }
}

/// Blocks of the right size with nothing in them.
fn zeros(
    kind: TensorType,
    n_cols: usize,
    rows: &[f32],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let dims = [n_cols as u64, (rows.len() / n_cols) as u64];
    Ok(vec![0; kind.tensor_bytes(&dims).ok_or("no whole blocks")? as usize])
}

/// A tensor of an F32 file.
fn values((bytes, header): &(Vec<u8>, GgufHeader), name: &str) -> Vec<f32> {
    let tensor = header.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!(tensor.kind, TensorType::F32);
    let bytes = &bytes[tensor.offset as usize..][..tensor.n_bytes as usize];
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A tensor of the folder's one file.
fn stored(place: &Place, name: &str) -> Vec<f32> {
    let bytes = fs::read(place.path("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    tensor.data().as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
}

/// Rows of a matrix in another order.
fn reordered(from: &[f32], n_cols: usize, order: impl Fn(usize) -> usize) -> Vec<f32> {
    (0..from.len() / n_cols).flat_map(|row| from[order(row) * n_cols..][..n_cols].to_vec()).collect()
}

#[test]
fn every_architecture_gets_the_tensors_that_llama_cpp_loads() {
    const USUAL: &[&str] = &[
        "attn_norm",
        "ffn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    const HEAD_NORMS: &[&str] = &["attn_q_norm", "attn_k_norm"];
    const FUSED: &[&str] = &["attn_norm", "ffn_norm", "attn_qkv", "attn_output", "ffn_up", "ffn_down"];
    for architecture in HuggingFaceFolder::ARCHITECTURES {
        const NONE: &[&str] = &[];
        const FACTORS: &[&str] = &["rope_factors_long.weight", "rope_factors_short.weight"];
        let (name, mut in_layer, outside) = match architecture {
            "LlamaForCausalLM" | "MistralForCausalLM" => ("llama", USUAL.to_vec(), NONE),
            "Qwen2ForCausalLM" => ("qwen2", USUAL.to_vec(), NONE),
            "Qwen3ForCausalLM" => ("qwen3", [USUAL, HEAD_NORMS].concat(), NONE),
            "Gemma3ForCausalLM" => {
                ("gemma3", [USUAL, HEAD_NORMS, &["post_attention_norm", "post_ffw_norm"]].concat(), NONE)
            }
            "SmolLM3ForCausalLM" => ("smollm3", USUAL.to_vec(), NONE),
            "GraniteForCausalLM" | "GraniteMoeHybridForCausalLM" => ("granite", USUAL.to_vec(), NONE),
            "Ministral3ForCausalLM" => ("mistral3", USUAL.to_vec(), NONE),
            "Phi3ForCausalLM" => ("phi3", FUSED.to_vec(), FACTORS),
            other => panic!("{other} has no list"),
        };
        in_layer.sort_unstable();
        for tied in [false, true] {
            let place = Place::new(&HuggingFaceFolder { tied, ..HuggingFaceFolder::new(architecture) });
            let report = place.import(Quantization::F32).unwrap();
            assert_eq!(
                (report.architecture, report.bytes),
                (name, fs::metadata(place.path("out.gguf")).unwrap().len())
            );
            let (_, header) = place.result();
            let mut expected: Vec<String> = (0..2)
                .flat_map(|layer| in_layer.iter().map(move |tensor| format!("blk.{layer}.{tensor}.weight")))
                .chain(["token_embd.weight", "output_norm.weight"].map(str::to_owned))
                .chain(outside.iter().map(|&name| name.to_owned()))
                .chain((!tied).then(|| "output.weight".to_owned()))
                .collect();
            if name == "qwen2" {
                let biases = ["attn_q", "attn_k", "attn_v"];
                expected.extend(
                    (0..2).flat_map(|layer| biases.map(|matrix| format!("blk.{layer}.{matrix}.bias"))),
                );
            }
            expected.sort();
            let mut found: Vec<_> = header.tensors.into_iter().map(|tensor| tensor.name).collect();
            found.sort();
            assert_eq!(found, expected, "{architecture}");
            assert_eq!(header.metadata.string("general.architecture"), Some(name));
            assert_eq!(header.metadata.u64(&format!("{name}.block_count")), Some(2));
            assert_eq!(header.metadata.string("general.name"), Some("tiny"));
        }
    }
}

#[test]
fn rows_of_queries_and_keys_are_reordered_where_rope_rotates_neighbours() {
    // Row 2 i of a head comes from row i, row 2 i + 1 from row i + 8.
    let interleaved = |row: usize| row / 16 * 16 + row % 16 / 2 + row % 2 * 8;
    for architecture in HuggingFaceFolder::ARCHITECTURES.into_iter().filter(|name| *name != "Phi3ForCausalLM")
    {
        let place = Place::new(&HuggingFaceFolder::new(architecture));
        place.import(Quantization::F32).unwrap();
        let result = place.result();
        let rotates_halves =
            ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "Gemma3ForCausalLM"].contains(&architecture);
        for (from, to) in [("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v")] {
            let from = stored(&place, &format!("model.layers.1.self_attn.{from}.weight"));
            let is_moved = !rotates_halves && to != "attn_v";
            let expected = reordered(&from, 64, |row| if is_moved { interleaved(row) } else { row });
            assert!(values(&result, &format!("blk.1.{to}.weight")) == expected, "{architecture}: {to}");
        }
    }
}

#[test]
fn biases_follow_their_rows() {
    let recipe = HuggingFaceFolder {
        config: vec![("attention_bias", json!(true))],
        ..HuggingFaceFolder::new("LlamaForCausalLM")
    };
    let place = Place::new(&recipe);
    let error = place.refused();
    assert!(error.to_string().contains("self_attn.q_proj.bias is missing"), "{error}");

    let place = Place::new(&HuggingFaceFolder::new("Qwen2ForCausalLM"));
    place.import(Quantization::Q8_0).unwrap();
    let bias = stored(&place, "model.layers.0.self_attn.q_proj.bias");
    assert_eq!(values(&place.result(), "blk.0.attn_q.bias"), bias);
}

#[test]
fn gemma_s_norms_are_stored_as_factors() {
    let place = Place::new(&HuggingFaceFolder::new("Gemma3ForCausalLM"));
    place.import(Quantization::BF16).unwrap();
    let result = place.result();
    for (from, to) in [
        ("model.norm.weight", "output_norm.weight"),
        ("model.layers.0.pre_feedforward_layernorm.weight", "blk.0.ffn_norm.weight"),
        ("model.layers.1.self_attn.k_norm.weight", "blk.1.attn_k_norm.weight"),
    ] {
        let expected: Vec<f32> = stored(&place, from).iter().map(|value| value + 1.0).collect();
        assert_eq!(values(&result, to), expected, "{to}");
    }
}

#[test]
fn a_hybrid_s_fused_matrix_becomes_gate_and_up() {
    let place = Place::new(&HuggingFaceFolder::new("GraniteMoeHybridForCausalLM"));
    place.import(Quantization::F32).unwrap();
    let (result, fused) = (place.result(), stored(&place, "model.layers.1.shared_mlp.input_linear.weight"));
    let (gate, up) = fused.split_at(fused.len() / 2);
    assert!(values(&result, "blk.1.ffn_gate.weight") == gate && values(&result, "blk.1.ffn_up.weight") == up);
    assert_eq!(result.1.metadata.bool("granite.rope.scaling.finetuned"), Some(true));
    assert_eq!(result.1.metadata.f32("granite.logit_scale"), Some(8.0));
}

#[test]
fn the_text_part_of_a_model_of_images_is_imported() {
    let recipe = HuggingFaceFolder { tied: true, ..HuggingFaceFolder::new("Gemma3ForCausalLM") };
    let alone = Place::new(&recipe);
    alone.import(Quantization::BF16).unwrap();

    let place = Place::new(&recipe);
    let mut text = recipe.config();
    text.as_object_mut().unwrap().remove("architectures");
    let config = json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text, "vision_config": { "hidden_size": 7 },
    });
    fs::write(place.path("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(place.path("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: HashMap<String, _> =
        file.tensors().into_iter().map(|(name, view)| (format!("language_model.{name}"), view)).collect();
    let other = safetensors::tensor::TensorView::new(safetensors::Dtype::I8, vec![2], &[1, 2]).unwrap();
    tensors.insert("vision_tower.vision_model.x".to_owned(), other);
    fs::write(
        place.path("model.safetensors"),
        safetensors::serialize(tensors, None::<HashMap<_, _>>).unwrap(),
    )
    .unwrap();
    place.import(Quantization::BF16).unwrap();
    assert!(place.result().0 == alone.result().0);
}

#[test]
fn shards_give_the_bytes_of_one_file() {
    let recipe = HuggingFaceFolder::new("LlamaForCausalLM");
    let one = Place::new(&recipe);
    one.import(Quantization::F16).unwrap();
    let three = Place::new(&HuggingFaceFolder { n_shards: 3, ..recipe });
    let files = Source::read(three.folder.path(), None).unwrap().weight_files().to_vec();
    assert_eq!(files[1..], ["model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]);
    three.import(Quantization::F16).unwrap();
    assert!(three.result().0 == one.result().0);
}

#[test]
fn types_are_those_of_the_mixture() {
    let place = Place::new(&HuggingFaceFolder {
        n_embd: 256,
        n_ff: 288,
        ..HuggingFaceFolder::new("LlamaForCausalLM")
    });
    let report = place.import(Quantization::Q4_K_M).unwrap();
    // The second of two layers has more bits for values and for ffn_down. The rows of that have 288 values, those of
    // attn_output 64.
    let expected = [("F32", 5), ("Q4_K", 10), ("Q5_0", 3), ("Q6_K", 2), ("Q8_0", 1)];
    assert_eq!(report.tensors.into_iter().collect::<Vec<_>>(), expected);
    let (_, header) = place.result();
    assert_eq!(header.metadata.u64("general.file_type"), Some(15));
    assert!(
        is_own(&place.path("out.gguf"))
            && !is_own(&place.path("config.json"))
            && !is_own(&place.path("none"))
    );
}

#[test]
fn a_part_that_is_missing_is_named() {
    for (name, in_shards) in [
        ("config.json", false),
        ("tokenizer.json", false),
        ("model.safetensors", false),
        ("model-00002-of-00003.safetensors", true),
        ("model.safetensors.index.json", true),
    ] {
        let recipe = HuggingFaceFolder::new("Qwen2ForCausalLM");
        let place = Place::new(&HuggingFaceFolder { n_shards: if in_shards { 3 } else { 1 }, ..recipe });
        fs::remove_file(place.path(name)).unwrap();
        let error = place.refused();
        assert!(matches!(&error, Error::Missing { name: missing, .. } if missing == name), "{error}");
        assert_eq!(error.to_string(), format!("{} has no {name}", place.folder.path().display()));
    }
}

#[test]
fn one_file_of_weights_comes_before_an_index() {
    let recipe = HuggingFaceFolder::new("Qwen2ForCausalLM");
    let (one, place) = (Place::new(&recipe), Place::new(&HuggingFaceFolder { n_shards: 2, ..recipe }));
    fs::remove_file(place.path("model-00002-of-00002.safetensors")).unwrap();
    fs::copy(one.path("model.safetensors"), place.path("model.safetensors")).unwrap();
    place.import(Quantization::F32).unwrap();
}

#[test]
fn what_is_no_regular_file_is_refused() {
    for name in ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"] {
        let place = Place::new(&HuggingFaceFolder::new("Qwen2ForCausalLM"));
        fs::remove_file(place.path(name)).or_else(|_| fs::metadata(place.folder.path()).map(drop)).unwrap();
        fs::create_dir(place.path(name)).unwrap();
        let error = place.refused();
        assert!(matches!(&error, Error::NotFile { path } if path.ends_with(name)), "{error}");
        #[cfg(unix)]
        {
            fs::remove_dir(place.path(name)).unwrap();
            let made = std::process::Command::new("mkfifo").arg(place.path(name)).status().unwrap();
            assert!(made.success());
            assert!(matches!(place.refused(), Error::NotFile { .. }), "{name}");
        }
    }
}

#[test]
fn an_index_names_files_of_its_folder_only() {
    let place = Place::new(&HuggingFaceFolder { n_shards: 2, ..HuggingFaceFolder::new("LlamaForCausalLM") });
    for name in ["../model.safetensors", "/etc/x.safetensors", "model.bin", "a\\b.safetensors", ""] {
        let index = json!({ "weight_map": { "model.norm.weight": name } });
        fs::write(place.path("model.safetensors.index.json"), index.to_string()).unwrap();
        let error = place.refused().to_string();
        assert!(
            error.ends_with("weight_map is not a map from tensors to names of files beside it"),
            "{error}"
        );
    }
    fs::write(place.path("model.safetensors.index.json"), json!({ "weight_map": {} }).to_string()).unwrap();
    place.refused();
}

#[test]
fn files_of_weights_that_are_not_as_described_are_refused() {
    let damaged = |damage: &dyn Fn(&Path)| {
        let place = Place::new(&HuggingFaceFolder::new("LlamaForCausalLM"));
        damage(&place.path("model.safetensors"));
        match place.refused() {
            Error::Weights { problem, .. } => problem,
            other => panic!("{other}"),
        }
    };
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        damaged(&|path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        })
    };
    assert!(matches!(with(&|bytes| bytes.truncate(5)), WeightsProblem::Truncated { found: 5, expected: 8 }));
    assert!(matches!(with(&|bytes| bytes.truncate(99)), WeightsProblem::Truncated { found: 99, .. }));
    let short = with(&|bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(short, WeightsProblem::Truncated { found, expected } if found + 1 == expected));
    assert!(matches!(with(&|bytes| bytes.push(0)), WeightsProblem::TooLong { .. }));
    assert!(matches!(with(&|bytes| bytes[..8].fill(0xff)), WeightsProblem::Header(_)));
    let header = with(&|bytes| bytes[8] = b'[');
    assert!(matches!(&header, WeightsProblem::Header(why) if !why.contains("at line")), "{header}");
}

/// The problem with the weights of a recipe under another configuration.
fn weights_problem(recipe: &HuggingFaceFolder, config: &HuggingFaceFolder) -> WeightsProblem {
    let place = Place::new(recipe);
    fs::write(place.path("config.json"), config.config().to_string()).unwrap();
    match place.refused() {
        Error::Weights { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn weights_that_do_not_fit_the_configuration_are_refused_by_name() {
    let recipe = HuggingFaceFolder::new("LlamaForCausalLM");
    let wider = HuggingFaceFolder { n_ff: 128, ..recipe.clone() };
    let (tensor, found) = ("model.layers.0.mlp.gate_proj.weight".to_owned(), vec![96, 64]);
    let shape = WeightsProblem::Shape { tensor, found, expected: vec![128, 64] };
    assert_eq!(weights_problem(&recipe, &wider), shape);

    let deeper = HuggingFaceFolder { n_layer: 3, ..recipe.clone() };
    let tensor = "model.layers.2.input_layernorm.weight".to_owned();
    assert_eq!(weights_problem(&recipe, &deeper), WeightsProblem::MissingTensor { tensor });

    let WeightsProblem::ExtraTensors { architecture: "llama", tensors } = weights_problem(&deeper, &recipe)
    else {
        panic!("nothing is superfluous");
    };
    assert_eq!((tensors.len(), tensors[0].as_str()), (9, "model.layers.2.input_layernorm.weight"));

    // A head that is the embedding again may be there.
    let place = Place::new(&recipe);
    fs::write(place.path("config.json"), HuggingFaceFolder { tied: true, ..recipe }.config().to_string())
        .unwrap();
    place.import(Quantization::F32).unwrap();
    assert!(place.result().1.tensors.iter().all(|tensor| tensor.name != "output.weight"));
}

#[test]
fn tensors_in_two_files_and_of_small_types_are_refused() {
    let place = Place::new(&HuggingFaceFolder { n_shards: 2, ..HuggingFaceFolder::new("LlamaForCausalLM") });
    let [first, second] = [1, 2].map(|i| place.path(&format!("model-0000{i}-of-00002.safetensors")));
    fs::copy(&first, &second).unwrap();
    let error = place.refused();
    assert!(error.to_string().contains("is in another file, too"), "{error}");

    let place = Place::new(&HuggingFaceFolder::new("LlamaForCausalLM"));
    let bytes = fs::read(place.path("model.safetensors")).unwrap();
    let text = String::from_utf8_lossy(&bytes).find("BF16").unwrap();
    let mut bytes = bytes;
    bytes[text..text + 4].copy_from_slice(b"I16\"");
    // `"I16""` is no JSON; the spare character goes.
    bytes.remove(text + 4);
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) - 1;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    fs::write(place.path("model.safetensors"), bytes).unwrap();
    let error = place.refused();
    assert!(
        matches!(&error, Error::Weights { problem: WeightsProblem::Dtype { dtype, .. }, .. } if dtype == "I16"),
        "{error}"
    );
}

#[test]
fn values_that_are_no_numbers_are_refused_with_their_tensor() {
    let place = Place::new(&HuggingFaceFolder::new("LlamaForCausalLM"));
    let mut bytes = fs::read(place.path("model.safetensors")).unwrap();
    let last = bytes.len() - 2;
    bytes[last..].copy_from_slice(&bf16::NAN.to_le_bytes());
    fs::write(place.path("model.safetensors"), bytes).unwrap();
    for quantization in [Quantization::F32, Quantization::Q8_0] {
        let error = place.import(quantization).unwrap_err();
        assert!(matches!(&error, Error::Tensor { problem: TensorProblem::NotFinite, .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors: tensor model."), "{error}");
        assert_eq!(place.leftovers(), [""; 0]);
    }
}

#[test]
fn stopping_leaves_what_was_there() {
    let place = Place::new(&HuggingFaceFolder::new("LlamaForCausalLM"));
    fs::write(place.path("out.gguf"), "former").unwrap();
    let mut calls = 0;
    let stopped = place.import_with(Quantization::F32, &mut |done, total| {
        calls += 1;
        assert!(done <= total);
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!((calls, fs::read_to_string(place.path("out.gguf")).unwrap().as_str()), (3, "former"));
    assert_eq!(place.leftovers(), ["out.gguf"]);

    let mut last = (0, 0);
    place
        .import_with(Quantization::F32, &mut |done, total| {
            last = (done, total);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(last.0 == last.1 && last.0 > 0);
}

#[test]
fn a_quantizer_that_fails_is_told_with_the_tensor() {
    let place = Place::new(&HuggingFaceFolder::new("LlamaForCausalLM"));
    let source = Source::read(place.folder.path(), None).unwrap();
    let request = Request { source: &source, quantization: Quantization::Q4_0, out: &place.path("out.gguf") };
    let failed = import(&request, &|_, _, _| Err("no room".into()), &mut |_, _| ControlFlow::Continue(()));
    let text = failed.unwrap_err().to_string();
    let end = "model.safetensors: tensor model.embed_tokens.weight cannot be quantized: no room";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn the_folder_s_own_files_are_not_replaced() {
    let place = Place::new(&HuggingFaceFolder::new("LlamaForCausalLM"));
    let source = Source::read(place.folder.path(), None).unwrap();
    fs::create_dir(place.path("sub")).unwrap();
    for (out, named) in [
        ("model.safetensors", "model.safetensors"),
        ("sub/../config.json", "config.json"),
        ("sub/../generation_config.json", "generation_config.json"),
    ] {
        let before = fs::read(place.path(named)).ok();
        let request = Request { source: &source, quantization: Quantization::F32, out: &place.path(out) };
        let error = import(&request, &zeros, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(&error, Error::OutIsSource { name, .. } if name == named), "{error}");
        assert_eq!(fs::read(place.path(named)).ok(), before);
    }
}

#[test]
fn a_repository_of_the_cache_gives_its_name() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("models--owner--Some-Model/snapshots/0a1b");
    fs::create_dir_all(&folder).unwrap();
    HuggingFaceFolder::new("LlamaForCausalLM").write(&folder).unwrap();
    let name =
        |name| Source::read(&folder, name).unwrap().metadata.string("general.name").unwrap().to_owned();
    assert_eq!((name(None).as_str(), name(Some("x")).as_str()), ("Some-Model", "x"));
}

#[test]
fn both_kinds_of_vocabulary_are_those_of_a_gguf_with_the_same_tokens() {
    for vocabulary in [Vocabulary::ByteLevel, Vocabulary::SentencePiece] {
        let place =
            Place::new(&HuggingFaceFolder { vocabulary, ..HuggingFaceFolder::new("LlamaForCausalLM") });
        place.import(Quantization::F32).unwrap();
        let found = place.result().1.metadata;
        let direct = TinyModel { vocabulary, ..TinyModel::new(WeightType::F32) };
        for (key, value) in direct.metadata().iter().filter(|(key, _)| key.starts_with("tokenizer.")) {
            // Characters have scores of their own in SentencePiece; only their order among the merged pieces counts.
            if key != "tokenizer.ggml.scores" {
                assert_eq!(found.get(key), Some(value), "{vocabulary:?}: {key}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_files_are_refused_or_imported(
        file in prop::sample::select(vec!["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]),
        at in 0.0..1.0f64,
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let place = Place::new(&HuggingFaceFolder {
            n_embd: 8,
            n_ff: 8,
            n_head: 2,
            n_head_kv: 1,
            head_dim: 4,
            n_layer: 1,
            ..HuggingFaceFolder::new("LlamaForCausalLM")
        });
        let mut bytes = fs::read(place.path(file)).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        fs::write(place.path(file), bytes).unwrap();
        match place.import(Quantization::Q8_0) {
            Ok(_) => prop_assert!(matches!(place.result().1.metadata.get("general.name"), Some(Value::String(_)))),
            Err(_) => prop_assert_eq!(place.leftovers(), [""; 0]),
        }
    }
}
