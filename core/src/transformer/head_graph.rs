//! The graph of the head for some supervised tokens.

use nightgraft_ggml::{Buffer, Graph};

use crate::Result;
use crate::ops::head::{self, Head};

/// Room for the head's forward and backward.
pub(super) const HEAD_NODES: usize = 32;

/// The head over `n_rows` supervised tokens: from `x` to `loss` and, if it trains, the gradient `dx`.
pub(super) fn head_graph(
    head: &Head,
    [x, dx, loss]: &[Buffer; 3],
    targets: &Buffer,
    n_rows: usize,
    trains: bool,
) -> Result<Graph> {
    let mut g = Graph::new(HEAD_NODES)?;
    let x = g.tensor_rows(x, n_rows)?;
    let targets = g.tensor(targets)?;
    let saved = head::forward(&mut g, head, x, targets, loss)?;
    if trains {
        let dx = g.tensor_rows(dx, n_rows)?;
        let dx = head::backward(&mut g, head, &saved, dx)?;
        g.schedule(dx)?;
    }
    Ok(g)
}
