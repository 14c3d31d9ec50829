//! From text to tokens and back: the tokenizer and the chat template that a GGUF file carries.
//!
//! - [`Tokenizer`] is built from the file's vocabulary, for byte-level BPE and for SentencePiece-style
//!   models, and gives the ids that llama.cpp gives.
//! - [`ChatTemplate`] renders [`Message`]s with the file's own Jinja template, which takes a fixed [`Date`] for now.
//! - [`supervised`] turns a conversation into an [`Example`] with a loss on every assistant turn and
//!   on nothing else, or refuses a template for which that cannot be known.

mod byte_level;
mod date;
mod example;
mod pieces;
mod pre_tokenizer;
mod sentence_piece;
mod special;
mod supervise;
mod template;
#[cfg(test)]
mod template_samples;
mod token_kind;
mod tokenizer;

pub use date::Date;
pub use example::Example;
pub use supervise::supervised;
pub use template::{ChatTemplate, Message};
pub use token_kind::TokenKind;
pub use tokenizer::{Encoding, Tokenizer};
