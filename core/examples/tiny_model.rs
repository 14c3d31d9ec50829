//! Writes a tiny model with random weights and a chat template, on which tests of other languages can train in
//! milliseconds: `cargo run --release -p nightgraft-core --example tiny_model -- tiny.gguf`.

use std::path::Path;

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: tiny_model OUT.gguf")?;
    let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
    tiny.write(Path::new(&path))?;
    Ok(())
}
