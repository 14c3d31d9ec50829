//! Names and row order in Hugging Face models.

use nightgraft_adapter::{Factor, Module};

use crate::base::{FeedForwardProjection, ModelSpec, RopeLayout};

/// What PEFT puts before the model's own names.
const PREFIX: &str = "base_model.model.";

/// The gate and what it multiplies in one matrix, in Hugging Face's models of Phi 3.
const FUSED_FFN: &str = "mlp.gate_up_proj";

/// The path of a module below its layer: `self_attn.q_proj`.
pub fn module_name(spec: &ModelSpec, layer: usize, module: Module) -> &'static str {
    let projection = spec.layers.get(layer).map(|layer| layer.feed_forward.projection);
    match (module, projection) {
        (Module::FfnUp, Some(FeedForwardProjection::Fused)) => FUSED_FFN,
        _ => module.hf_name(),
    }
}

/// The path of a module in the model: `model.layers.3.self_attn.q_proj`.
pub fn module_path(spec: &ModelSpec, layer: usize, module: Module) -> String {
    format!("model.layers.{layer}.{}", module_name(spec, layer, module))
}

/// The tensor in `adapter_model.safetensors`.
pub fn tensor_name(spec: &ModelSpec, layer: usize, module: Module, factor: Factor) -> String {
    format!("{PREFIX}{}.{}.weight", module_path(spec, layer, module), factor_name(factor))
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
    // The text part of a model that also sees pictures.
    let name = name.strip_prefix("language_model.").unwrap_or(name);
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let rest = rest.strip_suffix(".weight")?;
    let rest = rest.strip_suffix(".default").unwrap_or(rest);
    let (factor, path) = Factor::BOTH
        .into_iter()
        .find_map(|f| Some((f, rest.strip_suffix(factor_name(f))?.strip_suffix('.')?)))?;
    let canonical = layer.parse::<usize>().ok().filter(|n| n.to_string() == layer)?;
    let module = if path == FUSED_FFN { Module::FfnUp } else { Module::from_hf_name(path)? };
    Some((canonical, module, factor))
}

/// For each row of a module's output in GGUF order, the row that has it in Hugging Face order; `None` where
/// both orders are one.
///
/// Converting a `llama` or one of its kin to GGUF makes rope's pairs adjacent: in each head of queries and keys, row
/// `2j + p` of the file is row `p · head_dim/2 + j` of the original
/// (`reshape(n_head, 2, head_dim/2, …).swapaxes(1, 2)` in llama.cpp's `convert_hf_to_gguf.py`).
pub fn source_rows(spec: &ModelSpec, layer: usize, module: Module) -> Option<Vec<usize>> {
    let (n_rows, _) = spec.module_shape(layer, module)?;
    let attention = spec.layers.get(layer)?.attention();
    let head_dim = attention.head_dim;
    // Those of queries and keys, which come first where all three are in one matrix.
    let turned = match module {
        Module::AttnQ | Module::AttnK => n_rows,
        Module::AttnQkv => attention.n_embd_q() + attention.n_embd_kv(),
        _ => 0,
    };
    if turned == 0 || spec.rope_layout == RopeLayout::Halves {
        return None;
    }
    let source = |row: usize| {
        if row >= turned {
            return row;
        }
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
