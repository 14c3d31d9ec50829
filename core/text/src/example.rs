//! One training example: token ids and, for each position, the token to predict there.

/// Tokens with their targets.
///
/// `targets[t]` is the id to predict *after* position `t` (already shifted), or [`Example::NO_LOSS`].
/// Both vectors have the same length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Example {
    /// The token ids. `[n_tokens]`
    pub ids: Vec<u32>,
    /// The id that follows each position, or −1 where there is no loss. `[n_tokens]`
    pub targets: Vec<i32>,
}

impl Example {
    /// The target that means "no loss here".
    pub const NO_LOSS: i32 = -1;

    /// An example in which each token marked in `is_supervised` is predicted from the ones before it.
    ///
    /// The first token has nothing before it and is never predicted.
    pub fn from_supervision(ids: Vec<u32>, is_supervised: &[bool]) -> Self {
        let targets = (0..ids.len())
            .map(|t| match (ids.get(t + 1), is_supervised.get(t + 1)) {
                (Some(&next), Some(true)) => target(next),
                _ => Self::NO_LOSS,
            })
            .collect();
        Self { ids, targets }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of positions with a loss.
    pub fn n_supervised(&self) -> usize {
        self.targets.iter().filter(|&&target| target != Self::NO_LOSS).count()
    }
}

/// A token id as a target. Ids come from a vocabulary whose size fits in an `i32`.
pub(crate) fn target(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(Example::NO_LOSS)
}
