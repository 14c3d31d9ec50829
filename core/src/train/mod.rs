//! Training: the optimizer, the schedule, the loop of micro-steps, the choice of the best adapter.

mod best;
mod guard;
mod optimizer;
mod schedule;
mod train_loop;
mod trainer;

#[cfg(test)]
mod tests;

pub use best::BestAdapter;
pub use guard::{LearningRateGuard, RateTooHigh};
pub use optimizer::AdamW;
pub use schedule::learning_rate;
pub use train_loop::{EvalSchedule, PartialEvaluation, RunHistory, StepEvent, StopReason, TrainLoop};
pub use trainer::{
    DataPosition, GradientAccumulation, StepReport, Trainer, evaluate, set_values, total_steps,
};
