//! Attention and its gradients.

use nightgraft_kernels::AttentionShape;

use super::call::{Call, LineWork, WITHOUT_TILES};
use crate::{BufferRows, Device, Dispatch, Error};

const EXP: &str = include_str!("exp.wgsl");
const REDUCE: &str = include_str!("reduce.wgsl");
const SCORES: &str = include_str!("attention_scores.wgsl");

/// The operands of attention: `starts` is a row of T integers, none of them behind its own token.
#[derive(Clone, Copy)]
pub(crate) struct AttentionCall<'a> {
    pub shape: AttentionShape,
    pub qkv: [BufferRows<'a>; 3],
    pub starts: BufferRows<'a>,
    /// The output, then each head's log-sum-exp.
    pub out: BufferRows<'a>,
}

/// Writes `out`, in dispatches of at most so many multiply-adds.
pub(crate) fn attention(device: &Device, call: AttentionCall, most: u64) -> Result<Vec<Dispatch>, Error> {
    let run = call.begin("attention", include_str!("attention.wgsl"));
    call.dispatch(device, run, call.shape.n_head(), [2, most])
}

/// Writes `dq` `[T, n_head · head_dim]` and `dkv` `[T, 2 · n_head_kv · head_dim]`, for keys and values side by side. `delta`
/// `[T, n_head]` is memory that they need. No dispatch has more than `most` multiply-adds.
pub(crate) fn attention_back<'a>(
    device: &Device,
    call: AttentionCall<'a>,
    dout: BufferRows<'a>,
    [dq, dkv]: [BufferRows<'a>; 2],
    delta: BufferRows<'a>,
    most: u64,
) -> Result<Vec<Dispatch>, Error> {
    let queries = call.begin("attention_back_queries", include_str!("attention_back_queries.wgsl"));
    let queries = queries.matrix("DOUT", dout).matrix("DQ", dq).matrix("DELTA", delta);
    let keys = call.begin("attention_back_keys", include_str!("attention_back_keys.wgsl"));
    let keys = keys.matrix("DOUT", dout).matrix("DKV", dkv).matrix("DELTA", delta);
    let mut dispatches = call.dispatch(device, queries, call.shape.n_head(), [3, most])?;
    dispatches.extend(call.dispatch(device, keys, call.shape.n_head_kv(), [4, most])?);
    Ok(dispatches)
}

impl<'a> AttentionCall<'a> {
    fn begin(&self, name: &'static str, file: &'static str) -> Call<'a> {
        let [q, k, v] = self.qkv;
        Call::new(name, &[EXP, REDUCE, SCORES, file])
            .matrix("Q", q)
            .matrix("K", k)
            .matrix("V", v)
            .matrix("STARTS", self.starts)
            .matrix("OUT", self.out)
    }

    /// A workgroup for each of `n_heads` heads of each token, which does so many `products` of a head's values with the tokens that
    /// it sees.
    fn dispatch(
        &self,
        device: &Device,
        call: Call,
        n_heads: usize,
        [products, most]: [u64; 2],
    ) -> Result<Vec<Dispatch>, Error> {
        let Self { shape, qkv: [q, ..], .. } = self;
        // There are fewer tokens than that.
        let window = shape.window().and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX);
        let seen = u64::from(window.min(q.n_rows())).div_ceil(2);
        let of_line = WITHOUT_TILES * products * seen * shape.query_columns() as u64;
        call.number(shape.group_size() as u32)
            .number(window)
            .float(shape.scale())
            .float(shape.softcap().unwrap_or(1.0))
            .constant("HEAD_DIM", shape.head_dim() as u32)
            .flag("CAPPED", shape.softcap().is_some())
            .lines(device, [n_heads as u32, q.n_rows()], LineWork { of_line, most })
    }
}
