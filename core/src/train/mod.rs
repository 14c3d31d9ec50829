//! Training: the optimizer, the schedule, the loop of micro-steps, the choice of the best adapter.

mod best;
mod course;
mod guard;
mod optimizer;
mod plot;
mod schedule;
mod trainer;

#[cfg(test)]
mod tests;

pub use best::Best;
pub use course::{Advanced, Course, CourseRules, Ending, PartialEvaluation, Past};
pub use guard::{Guard, TooHigh};
pub use optimizer::AdamW;
pub use plot::{is_loss_svg, loss_svg};
pub(crate) use plot::{problem_svg, short};
pub use schedule::learning_rate;
pub use trainer::{Cursor, Pending, Stepped, Trainer, evaluate, set_values, total_steps};
