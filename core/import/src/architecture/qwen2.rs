//! `qwen2`: Qwen 2 and 2.5, their Coder and Math models among them. Queries, keys and values have biases.

use super::decoder::{self, Biases};
use super::rope::{Allowed, Rope};
use crate::Result;
use crate::config::{Config, Decoder, Defaults, MAX_CONTEXT};
use crate::plan::{Change, Plan};

const NAME: &str = "qwen2";

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let keys = config.keys();
    let decoder = Decoder::read(config, NAME, &Defaults::USUAL)?;
    // llama.cpp takes the width of all queries from the embedding.
    if decoder.n_embd_q() != decoder.n_embd {
        let expected = format!("hidden_size / num_attention_heads = {}", decoder.n_embd / decoder.n_head);
        return Err(keys.unsupported("head_dim", decoder.head_dim, NAME, expected));
    }
    let rope = Rope::read(config, NAME, 10_000.0, Allowed::Yarn)?;
    rope.must_be_whole(config, NAME)?;

    let mut plan = decoder::start(NAME, &decoder);
    if keys.bool("use_sliding_window")? == Some(true) {
        decoder::notice_window(&mut plan, &decoder, keys.count("sliding_window", 0, MAX_CONTEXT)?);
    }
    rope.write(&mut plan, &decoder);
    decoder::ends(&mut plan, &decoder, Change::None);
    let biases = Biases { qkv: true, ..Biases::default() };
    for layer in 0..decoder.n_layer {
        decoder::two_norms(&mut plan, &decoder, layer);
        decoder::attention(&mut plan, &decoder, layer, Change::None, biases);
        decoder::mlp(&mut plan, &decoder, layer, biases);
    }
    Ok(plan)
}
