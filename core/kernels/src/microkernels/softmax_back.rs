//! The element-wise step of the backward of attention: through the softmax.

use super::exp::exp;
use super::softcap::capped;

/// What [`softmax_back`] needs besides the scores and the products: one key and consecutive queries.
pub(crate) struct SoftmaxBack<'a> {
    /// Factor of the scores.
    pub scale: f32,
    /// The soft-cap of the scores, if they have one.
    pub softcap: Option<f32>,
    /// The index of the key.
    pub key: u32,
    /// The index of the first query.
    pub first_query: u32,
    /// The log-sum-exp of each query.
    pub lse: &'a [f32],
    /// Σ dout · out of each query.
    pub delta: &'a [f32],
    /// The first key that each query attends to.
    pub first_key: &'a [u32],
}

/// Computes `p = exp(scale · s − lse)`, in the place of the scores `s`, and `dp = scale · p · (dp − delta)` for one key and
/// some queries; both are 0 where the query does not attend to the key. With a soft-cap c, `scale · s` is passed through
/// `c · tanh(· / c)`, whose slope is `1 − tanh²`.
#[inline(always)]
pub(crate) fn softmax_back(shared: &SoftmaxBack, scores: &mut [f32], dp: &mut [f32]) {
    let n = scores.len();
    let (dp, lse, delta) = (&mut dp[..n], &shared.lse[..n], &shared.delta[..n]);
    let first_key = &shared.first_key[..n];
    if let Some(cap) = shared.softcap {
        for i in 0..n {
            let attends = (first_key[i] <= shared.key) & (shared.key <= shared.first_query + i as u32);
            let score = capped(scores[i] * shared.scale, cap);
            let p = exp(score - lse[i]);
            let tanh = score / cap;
            let ds = p * (dp[i] - delta[i]) * shared.scale * (1.0 - tanh * tanh);
            scores[i] = if attends { p } else { 0.0 };
            dp[i] = if attends { ds } else { 0.0 };
        }
        return;
    }
    for i in 0..n {
        let attends = (first_key[i] <= shared.key) & (shared.key <= shared.first_query + i as u32);
        let p = exp(scores[i].mul_add(shared.scale, -lse[i]));
        let ds = p * (dp[i] - delta[i]) * shared.scale;
        scores[i] = if attends { p } else { 0.0 };
        dp[i] = if attends { ds } else { 0.0 };
    }
}
