//! Whether a device computes right, and how fast: what has to be known of it before it is trusted with anything.

mod check;
mod speed;
mod tune;

pub use check::{LEAST_COSINE, ProductCheck, check_products};
pub use speed::{ProductSpeed, Speed, measure_peak, measure_products};
pub use tune::{Tuning, tune};
