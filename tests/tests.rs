//! The integration tests, one module a topic. Those in `golden`, `llama_cpp` and `tokenizer` need the real model.

mod cli;
mod clock;
mod formats;
mod gate;
mod golden;
mod llama_cpp;
#[cfg(unix)]
mod model_changed;
mod night;
mod privacy;
mod resume;
mod support;
mod tokenizer;
