//! Training and evaluation files: reading, splitting, packing.
//!
//! [`load`] reads a file into a [`Dataset`] of [`Example`](crate::Example)s, [`split`] holds some of
//! them out, [`plan_epoch`] says which examples make each micro-batch of an epoch, and [`assemble`] makes
//! the [`Batch`].
//!
//! | file | content | loss |
//! |---|---|---|
//! | `.txt` | plain text, in windows of the context length | every token, once |
//! | `.jsonl` | `{"text"}` | every token, and EOS behind the text |
//! | `.jsonl` | `{"prompt", "completion"}`, tokenized apart and joined | the completion and EOS; with `chat`, as a conversation |
//! | `.jsonl` | `{"messages": [{"role", "content"}]}` | all that the model must say: each assistant turn with what the template writes around it, up to the token that ends a generation |
//! | `.jsonl` | `{"prompt", "completion"}`, both lists of messages | the same in the assistant's turns of the completion |
//! | `.jsonl` | `{"input_ids", "labels"}` | where the label is not −100; nothing is added |
//!
//! In conversations, `"weight": 0` takes the loss from a turn; so do `loss`, `loss_mask`, `loss_weight`, `train`, `trainable` and
//! `training` that are 0 or false. A line of which they say so, one whose answer was rejected (`"label": false`, as KTO has it)
//! and one with an answer of which it is not clear (`mask`, `masked`, `train_detail`) are refused. A `content` of text parts is
//! joined; every other key of a message, and `tools`, `functions`, `documents` and the
//! entries of `chat_template_kwargs` beside them, reach the template. What the answers stand on and the template does
//! not show is refused by name, and every other key without effect is counted in the report.

mod batch;
mod content;
mod conversation;
mod dataset;
mod foreign_shape;
mod format;
mod json_kind;
mod line;
mod line_problem;
mod load;
mod message_problem;
mod plan;
mod problem;
mod report;
mod shuffle;
mod truncate;
mod turns;
mod unreadable;

pub use batch::{Batch, assemble};
pub use dataset::{Dataset, split};
pub use foreign_shape::ForeignShape;
pub use format::Format;
pub use json_kind::JsonKind;
pub use line::{MAX_LINE_BYTES, check_line};
pub use line_problem::LineProblem;
pub use load::{DataOptions, load, load_line};
pub use message_problem::MessageProblem;
pub use plan::{BatchOptions, plan_epoch};
pub use problem::DataProblem;
pub use report::DataReport;
pub use unreadable::Unreadable;
