//! Names and row order in Hugging Face models.

use nightgraft_adapter::{Factor, Module};

use crate::base::{BlockSpec, RopeLayout};

/// What PEFT puts before the model's own names.
const PREFIX: &str = "base_model.model.";

/// The path of a module in the model: `model.layers.3.self_attn.q_proj`.
pub fn module_path(layer: usize, module: Module) -> String {
    format!("model.layers.{layer}.{}", module.hf_name())
}

/// The tensor in `adapter_model.safetensors`.
pub fn tensor_name(layer: usize, module: Module, factor: Factor) -> String {
    format!("{PREFIX}{}.{}.weight", module_path(layer, module), factor_name(factor))
}

/// What PEFT calls the layer that holds one of the two matrices.
fn factor_name(factor: Factor) -> &'static str {
    match factor {
        Factor::A => "lora_A",
        Factor::B => "lora_B",
    }
}

/// Takes a tensor's name apart; `None` if it is no factor of a module that can be adapted. The name may lack
/// the outer prefixes and may carry PEFT's adapter name, as in a training process's state.
pub fn parse_tensor_name(name: &str) -> Option<(usize, Module, Factor)> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let name = name.strip_prefix("model.").unwrap_or(name);
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let rest = rest.strip_suffix(".weight")?;
    let rest = rest.strip_suffix(".default").unwrap_or(rest);
    let (factor, path) = Factor::BOTH
        .into_iter()
        .find_map(|f| Some((f, rest.strip_suffix(factor_name(f))?.strip_suffix('.')?)))?;
    let canonical = layer.parse::<usize>().ok().filter(|n| n.to_string() == layer)?;
    Some((canonical, Module::from_hf_name(path)?, factor))
}

/// For each row of a module's output in GGUF order, the row that has it in Hugging Face order; `None` where
/// both orders are one.
///
/// Converting a `llama` to GGUF makes rope's pairs adjacent: in each head of queries and keys, row
/// `2j + p` of the file is row `p · head_dim/2 + j` of the original
/// (`reshape(n_head, 2, head_dim/2, …).swapaxes(1, 2)` in llama.cpp's `convert_hf_to_gguf.py`).
pub fn source_rows(spec: &BlockSpec, module: Module) -> Option<Vec<usize>> {
    let rotated = matches!(module, Module::AttnQ | Module::AttnK);
    if !rotated || spec.rope.layout == RopeLayout::Halves {
        return None;
    }
    let head_dim = spec.head_dim;
    let (n_rows, _) = spec.module_shape(module);
    let source = |row: usize| {
        let (head, place) = (row / head_dim, row % head_dim);
        head * head_dim + (place % 2) * (head_dim / 2) + place / 2
    };
    Some((0..n_rows).map(source).collect())
}

/// `B` transposed in GGUF order, `[rank, n_out]`, as PEFT stores it: `[n_out, rank]` in Hugging Face order.
pub fn b_to_hugging_face(b_t: &[f32], rank: usize, n_out: usize, source_rows: Option<&[usize]>) -> Vec<f32> {
    let mut b = vec![0.0; b_t.len()];
    for row in 0..n_out {
        let target = source_rows.map_or(row, |rows| rows[row]);
        for k in 0..rank {
            b[target * rank + k] = b_t[k * n_out + row];
        }
    }
    b
}

/// The inverse of [`b_to_hugging_face`].
pub fn b_from_hugging_face(b: &[f32], rank: usize, n_out: usize, source_rows: Option<&[usize]>) -> Vec<f32> {
    let mut b_t = vec![0.0; b.len()];
    for row in 0..n_out {
        let source = source_rows.map_or(row, |rows| rows[row]);
        for k in 0..rank {
            b_t[k * n_out + row] = b[source * rank + k];
        }
    }
    b_t
}
