//! The element-wise step of the backward of attention.

use super::exp::exp;
use crate::isa::BackColumns;

/// For one key and some queries: `p = exp(scale · s − lse)` and `dp = scale · p · (dp − delta)`, both 0 where the query does
/// not attend to the key.
#[inline(always)]
pub(crate) fn back_columns(shared: &BackColumns, scores: &mut [f32], dp: &mut [f32]) {
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
