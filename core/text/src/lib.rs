//! From text to tokens and back: the tokenizer and the chat template that a GGUF file carries.
//!
//! - [`Tokenizer`] is built from the file's vocabulary, for byte-level BPE and for SentencePiece-style
//!   models, and gives the ids that llama.cpp gives.
//! - [`ChatTemplate`] renders [`Message`]s with the file's own Jinja template, which takes a fixed [`Date`] for now.
//! - [`supervised`] turns a conversation into [`Example`]s with a loss on what the model must say at use and
//!   on nothing else, or refuses a template for which that cannot be known.
//! - [`unused_keys`] finds what a conversation has and the template does not show.
//! - [`data`] reads training files with all of these.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod answer;
mod byte_level;
mod conversation;
pub mod data;
mod date;
mod error;
mod example;
mod pieces;
mod pre_tokenizer;
mod sentence_piece;
mod special;
mod supervise;
mod template;
#[cfg(test)]
mod template_samples;
mod thought;
mod token_kind;
mod tokenizer;
mod unused;

pub use conversation::{Conversation, Message, Variables};
pub use date::Date;
pub use error::{
    Error, NotShown, Result, SettingProblem, TemplateFault, TemplateProblem, TokenizerProblem, Unclear,
    Unlogged,
};
pub use example::Example;
pub use supervise::{Supervised, supervised};
pub use template::ChatTemplate;
pub use token_kind::TokenKind;
pub use tokenizer::{Encoding, Tokenizer};
pub use unused::unused_keys;
