//! What other trainers leave behind, recognized.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ForeignAdapter;

/// Names of tensors are looked for in a header of at most so many bytes.
const MAX_HEADER_BYTES: u64 = 16 << 20;

impl ForeignAdapter {
    /// By the names of the files in a folder.
    pub(super) fn of_folder(folder: &Path) -> Option<Self> {
        let entries = fs::read_dir(folder).ok()?;
        let names: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        // What says most comes first.
        let kinds = [
            Self::MlxLm,
            Self::Torchtune,
            Self::LitGpt,
            Self::AdapterHub,
            Self::PickledPeft,
            Self::Diffusers,
            Self::Nemo,
            Self::WholeModel,
            Self::Pickle,
        ];
        kinds.into_iter().find(|kind| names.iter().any(|name| Self::of_name(name) == Some(*kind)))
    }

    /// By the name of a file alone.
    fn of_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        match name.as_str() {
            "adapters.safetensors" | "adapters.npz" => Some(Self::MlxLm),
            _ if name.ends_with("_adapters.safetensors") => Some(Self::MlxLm),
            "adapter_model.bin" => Some(Self::PickledPeft),
            "pytorch_adapter.bin" => Some(Self::AdapterHub),
            "pytorch_lora_weights.safetensors" | "pytorch_lora_weights.bin" => Some(Self::Diffusers),
            _ if name.starts_with("lit_model") => Some(Self::LitGpt),
            _ if name.starts_with("adapter") && ends(&[".pt"]) => Some(Self::Torchtune),
            _ if ends(&[".nemo"]) => Some(Self::Nemo),
            "model.safetensors" | "model.safetensors.index.json" | "pytorch_model.bin.index.json" => {
                Some(Self::WholeModel)
            }
            _ if ends(&[".bin", ".pt", ".pth", ".ckpt", ".pkl"]) => Some(Self::Pickle),
            _ => None,
        }
    }

    /// By what a file begins with, and by its name.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut start = [0; 8];
        let n = File::open(path).and_then(|mut file| read_start(&mut file, &mut start)).ok()?;
        match &start[..n] {
            // A number, little endian: 'ggla'.
            [b'a', b'l', b'g', b'g', ..] => Some(Self::Ggla),
            [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => Self::of_name(name).or(Some(Self::Pickle)),
            _ => match tensor_names(path) {
                Ok(names) => Self::of_name(name).or_else(|| Some(Self::of_tensors(&names))),
                Err(_) => Self::of_name(name).filter(|kind| *kind != Self::WholeModel),
            },
        }
    }

    /// By the names of the tensors of a safetensors file that is no PEFT adapter.
    fn of_tensors(names: &[String]) -> Self {
        let any = |parts: &[&str]| names.iter().any(|name| parts.iter().any(|part| name.contains(part)));
        if any(&["lora_down", "lora_up", "hada_w", "lokr_w"]) {
            Self::Kohya
        } else if any(&["unet.", "text_encoder.", "single_transformer_blocks."]) {
            Self::Diffusers
        } else if any(&[".lora_a", ".lora_b"]) {
            Self::MlxLm
        } else if any(&[".lora_A", ".lora_B"]) {
            Self::BarePeft
        } else {
            Self::WholeModel
        }
    }

    /// By the keys of an `adapter_config.json` that is not PEFT's.
    pub(super) fn of_config(config: &Map<String, Value>) -> Option<Self> {
        let any = |keys: &[&str]| keys.iter().any(|key| config.contains_key(*key));
        if any(&["lora_parameters", "fine_tune_type", "lora_layers", "adapter_path"]) {
            Some(Self::MlxLm)
        } else if any(&["hidden_size", "model_class", "config_id"]) && any(&["config"]) {
            Some(Self::AdapterHub)
        } else {
            None
        }
    }
}

/// What a tensor of a PEFT adapter is, if it belongs to more than plain LoRA on matrices of the blocks.
pub fn part_of(tensor: &str) -> Option<&'static str> {
    const PARTS: &[(&str, &str)] = &[
        ("lora_magnitude_vector", "the magnitudes of a DoRA adapter"),
        ("lora_embedding_", "an adapter on the embedding"),
        ("lora_velora", "a part of a VeLoRA adapter"),
        ("lora_diag", "a part of a KaSA adapter"),
        ("lora_E", "a part of an AdaLoRA adapter"),
        ("lora_A.bias", "a bias on the adapter"),
        ("lora_B.bias", "a bias on the adapter"),
        ("hada_w", "a part of a LoHa adapter"),
        ("lokr_w", "a part of a LoKr adapter"),
        ("ia3_l", "a part of an (IA)³ adapter"),
        ("vera_", "a part of a VeRA adapter"),
        ("oft_", "a part of an OFT adapter"),
        ("modules_to_save", "a whole module beside the adapter"),
        ("trainable_tokens", "trained token embeddings"),
        ("lora_down", "a part of an adapter of kohya's scripts"),
        ("lora_up", "a part of an adapter of kohya's scripts"),
        (".lora_a", "a part of an adapter of mlx-lm"),
        (".lora_b", "a part of an adapter of mlx-lm"),
        ("lm_head", "an adapter on the head"),
        ("embed_tokens", "an adapter on the embedding"),
        ("experts", "an adapter on experts"),
        ("vision", "an adapter on what sees pictures"),
    ];
    PARTS.iter().find(|(part, _)| tensor.contains(part)).map(|(_, what)| *what)
}

/// As much as there is of the start.
fn read_start(file: &mut File, start: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < start.len() {
        match file.read(&mut start[n..])? {
            0 => break,
            read => n += read,
        }
    }
    Ok(n)
}

/// The names of the tensors of a safetensors file, from its header alone.
fn tensor_names(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let mut len = [0; 8];
    file.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if len > MAX_HEADER_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut header = Vec::new();
    file.take(len).read_to_end(&mut header)?;
    let header: Map<String, Value> = serde_json::from_slice(&header)?;
    Ok(header.into_iter().map(|(name, _)| name).filter(|name| name != "__metadata__").collect())
}
