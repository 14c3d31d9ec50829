//! The drawing of a run's loss, which is not the engine's to make: apps have no use for it.

/// Draws the loss of each step, and that of each evaluation on held-out examples, both beside the number of the step.
pub type DrawLoss = fn(steps: &[LossAt], held_out: &[LossAt]) -> String;

/// An optimizer step, and a loss in nats for each supervised token.
pub type LossAt = (u64, f64);

/// How the loss of a run is drawn.
#[derive(Clone, Copy, Debug)]
pub struct LossCurve {
    /// Draws it.
    pub draw: DrawLoss,
    /// Whether a text is such a drawing.
    pub is_own: fn(&str) -> bool,
}
