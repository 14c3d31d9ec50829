//! The matrices of a layer that can get a low-rank pair.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

/// A weight matrix of a transformer block, under its GGUF name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Module {
    /// Queries.
    AttnQ,
    /// Keys.
    AttnK,
    /// Values.
    AttnV,
    /// From the heads back to the residual stream.
    AttnOutput,
    /// The gated half of the feed-forward network.
    FfnGate,
    /// The other half, or both where they are one matrix.
    FfnUp,
    /// From the feed-forward network back to the residual stream.
    FfnDown,
    /// Queries, keys and values in one matrix, where they are not apart.
    AttnQkv,
}

impl Module {
    /// All of them. No layer has all: [`Module::AttnQkv`] stands for three others.
    pub const ALL: [Self; 8] = [
        Self::AttnQ,
        Self::AttnK,
        Self::AttnV,
        Self::AttnOutput,
        Self::FfnGate,
        Self::FfnUp,
        Self::FfnDown,
        Self::AttnQkv,
    ];

    /// The most that a layer has: those that are apart, in the order of computation.
    pub const APART: [Self; 7] =
        [Self::AttnQ, Self::AttnK, Self::AttnV, Self::AttnOutput, Self::FfnGate, Self::FfnUp, Self::FfnDown];

    /// Queries, keys and values.
    pub const QKV: [Self; 3] = [Self::AttnQ, Self::AttnK, Self::AttnV];

    /// The name in GGUF files and on the command line: `attn_q`.
    pub fn gguf_name(self) -> &'static str {
        self.into()
    }

    /// The path below a layer in most Hugging Face models: `self_attn.q_proj`.
    pub fn hf_name(self) -> &'static str {
        match self {
            Self::AttnQ => "self_attn.q_proj",
            Self::AttnK => "self_attn.k_proj",
            Self::AttnV => "self_attn.v_proj",
            Self::AttnOutput => "self_attn.o_proj",
            Self::FfnGate => "mlp.gate_proj",
            Self::FfnUp => "mlp.up_proj",
            Self::FfnDown => "mlp.down_proj",
            Self::AttnQkv => "self_attn.qkv_proj",
        }
    }

    /// The module with that GGUF name.
    pub fn from_gguf_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The module with that Hugging Face path.
    pub fn from_hf_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.hf_name() == name)
    }

    /// The tensor of this module in `layer`: `blk.3.attn_q.weight`.
    pub fn tensor_name(self, layer: usize) -> String {
        format!("blk.{layer}.{}.weight", self.gguf_name())
    }

    /// The tensor with this module's bias in `layer`: `blk.3.attn_q.bias`.
    pub fn bias_name(self, layer: usize) -> String {
        format!("blk.{layer}.{}.bias", self.gguf_name())
    }
}
