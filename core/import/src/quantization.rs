//! Which type each tensor gets: llama.cpp's mixtures (`llama_tensor_get_type_impl` in `llama-quant.cpp`, without an importance
//! matrix), and what stands in for a type whose blocks a row is no multiple of.

use nightgraft_gguf::TensorType;

use crate::plan::{Plan, PlannedTensor};

/// A type of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, non_camel_case_types)]
pub enum Quantization {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    /// 4-bit blocks of 256 with two levels of scales; more bits for the head, and for values and down projections of about half
    /// of the layers.
    Q4_K_M,
}

impl Quantization {
    /// As in the name of a file, `Q4_K_M`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_K_M => "Q4_K_M",
        }
    }

    /// llama.cpp's number of the type of file, `general.file_type` (`enum llama_ftype`).
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q4_K_M => 15,
            Self::BF16 => 32,
        }
    }

    /// The type of a tensor of `plan`.
    pub(crate) fn of(self, tensor: &PlannedTensor, plan: &Plan) -> TensorType {
        let [n_cols, _] = tensor.dims[..] else { return TensorType::F32 };
        let wanted = match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::BF16 => TensorType::BF16,
            Self::Q8_0 => TensorType::Q8_0,
            Self::Q4_0 | Self::Q4_K_M if is_head(&tensor.name, plan) => TensorType::Q6_K,
            Self::Q4_0 => TensorType::Q4_0,
            Self::Q4_K_M => k_mixture(&tensor.name, plan.n_layer),
        };
        fallback(wanted, n_cols)
    }
}

/// The matrix that the logits come from.
fn is_head(name: &str, plan: &Plan) -> bool {
    let is_there = |name: &str| plan.tensors.iter().any(|tensor| tensor.name == name);
    name == "output.weight" || name == "token_embd.weight" && !is_there("output.weight")
}

/// The sensitive matrices have six bits in the first and last eighth of the layers and in every third between them.
fn k_mixture(name: &str, n_layer: u64) -> TensorType {
    let layer = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
    let is_sensitive =
        ["attn_v.weight", "attn_qkv.weight", "ffn_down.weight"].iter().any(|end| name.ends_with(end));
    match layer.filter(|_| is_sensitive) {
        Some(layer) if has_more_bits(layer, n_layer) => TensorType::Q6_K,
        _ => TensorType::Q4_K,
    }
}

fn has_more_bits(layer: u64, n_layer: u64) -> bool {
    layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2
}

/// A type whose blocks fit into a row (`tensor_type_fallback`).
fn fallback(wanted: TensorType, n_cols: u64) -> TensorType {
    let fits = |kind: TensorType| n_cols.is_multiple_of(kind.block_len());
    if fits(wanted) {
        return wanted;
    }
    let smaller = match wanted {
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q6_K => TensorType::Q8_0,
        other => other,
    };
    if fits(smaller) { smaller } else { TensorType::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Change, Names};

    fn plan(n_layer: u64, n_cols: u64, tied: bool) -> Plan {
        let mut plan = Plan::new("llama", n_layer, 8);
        plan.matrix(&Names::of("e", "token_embd.weight"), 8, n_cols, Change::None);
        if !tied {
            plan.matrix(&Names::of("h", "output.weight"), 8, n_cols, Change::None);
        }
        for layer in 0..n_layer {
            for name in ["attn_q.weight", "attn_v.weight", "ffn_down.weight"] {
                plan.matrix(&Names::in_layer(layer, "x", name), 8, n_cols, Change::None);
            }
            plan.vector(&Names::in_layer(layer, "n", "attn_norm.weight"), n_cols, Change::None);
        }
        plan
    }

    fn types(quantization: Quantization, plan: &Plan, name: &str) -> Vec<TensorType> {
        let of_name = plan.tensors.iter().filter(|tensor| tensor.name.ends_with(name));
        of_name.map(|tensor| quantization.of(tensor, plan)).collect()
    }

    #[test]
    fn the_mixture_gives_six_bits_to_the_outer_and_every_third_layer() {
        let plan = plan(24, 512, false);
        let six: Vec<usize> = types(Quantization::Q4_K_M, &plan, "ffn_down.weight")
            .iter()
            .enumerate()
            .filter_map(|(layer, &kind)| (kind == TensorType::Q6_K).then_some(layer))
            .collect();
        assert_eq!(six, [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]);
        assert_eq!(
            types(Quantization::Q4_K_M, &plan, "attn_v.weight"),
            types(Quantization::Q4_K_M, &plan, "ffn_down.weight")
        );
        assert!(types(Quantization::Q4_K_M, &plan, "attn_q.weight").iter().all(|&t| t == TensorType::Q4_K));
        assert_eq!(types(Quantization::Q4_K_M, &plan, "output.weight"), [TensorType::Q6_K]);
        assert_eq!(types(Quantization::Q4_K_M, &plan, "token_embd.weight"), [TensorType::Q4_K]);
        assert_eq!(types(Quantization::Q4_K_M, &plan, "norm.weight"), [TensorType::F32; 24]);
    }

    #[test]
    fn rows_that_are_no_whole_blocks_get_another_type() {
        let kinds = |quantization, n_cols| {
            let plan = plan(8, n_cols, true);
            ["attn_q.weight", "ffn_down.weight", "token_embd.weight"]
                .map(|name| types(quantization, &plan, name)[0])
        };
        use TensorType::*;
        assert_eq!(kinds(Quantization::Q4_K_M, 512), [Q4_K, Q6_K, Q6_K]);
        assert_eq!(kinds(Quantization::Q4_K_M, 576), [Q5_0, Q8_0, Q8_0]);
        assert_eq!(kinds(Quantization::Q4_K_M, 100), [F16, F16, F16]);
        assert_eq!(kinds(Quantization::Q4_0, 576), [Q4_0, Q4_0, Q8_0]);
        assert_eq!(kinds(Quantization::Q8_0, 48), [F16, F16, F16]);
        assert_eq!(kinds(Quantization::BF16, 48), [BF16, BF16, BF16]);
    }
}
