//! The element-wise step of the backward of attention: through the softmax.

use super::exp::exp;
use crate::isa::SoftmaxBack;

/// Computes `p = exp(scale · s − lse)`, in the place of the scores `s`, and `dp = scale · p · (dp − delta)` for one key and
/// some queries; both are 0 where the query does not attend to the key.
#[inline(always)]
pub(crate) fn softmax_back(shared: &SoftmaxBack, scores: &mut [f32], dp: &mut [f32]) {
    let n = scores.len();
    let (dp, lse, delta) = (&mut dp[..n], &shared.lse[..n], &shared.delta[..n]);
    let first_key = &shared.first_key[..n];
    for i in 0..n {
        let attends = (first_key[i] <= shared.key) & (shared.key <= shared.first_query + i as u32);
        let p = exp(scores[i].mul_add(shared.scale, -lse[i]));
        let ds = p * (dp[i] - delta[i]) * shared.scale;
        scores[i] = if attends { p } else { 0.0 };
        dp[i] = if attends { ds } else { 0.0 };
    }
}
