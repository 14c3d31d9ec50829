//! Training and evaluation files: reading, splitting, packing.
//!
//! [`load`] reads a file into a [`Dataset`] of [`Example`](crate::text::Example)s, [`split`] holds some of
//! them out, [`plan_epoch`] says which examples make each micro-batch of an epoch, and [`assemble`] makes
//! the [`Batch`].
//!
//! | file | content | loss |
//! |---|---|---|
//! | `.txt` | plain text, in windows of the context length | every token, once |
//! | `.jsonl` | `{"text"}` | every token, and EOS behind the text |
//! | `.jsonl` | `{"prompt", "completion"}`, joined as they stand | the completion and EOS; with `chat`, as a conversation |
//! | `.jsonl` | `{"messages": [{"role", "content"}]}` | every assistant turn with its end-of-turn token |
//! | `.jsonl` | `{"input_ids", "labels"}` | where the label is not −100; nothing is added |

mod batch;
mod conversation;
mod dataset;
mod fit;
mod line;
mod load;
mod plan;
mod report;
mod shuffle;

pub use batch::{Batch, assemble};
pub use dataset::{Dataset, split};
pub(crate) use line::MAX_LINE_BYTES;
pub use line::check_line;
pub use load::{DataOptions, load, load_line};
pub use plan::{BatchOptions, plan_epoch};
pub use report::DataReport;
