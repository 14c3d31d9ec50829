//! Training: the optimizer, the schedule, the loop of micro-steps, the choice of the best adapter.

mod checkpoint;
mod early_stopping;
mod guard;
mod optimizer;
mod schedule;
mod train_loop;
mod trainer;

#[cfg(test)]
mod tests;

pub use guard::RateTooHigh;
pub use optimizer::AdamW;
pub use train_loop::{EvalSchedule, StepEvent, StopReason, TrainLoop};
pub use trainer::{StepReport, Trainer, epoch_plan, evaluate, total_steps};
