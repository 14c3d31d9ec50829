// What the attention and its gradients share: a head has HEAD_DIM values, and scores have a soft-cap if CAPPED.

// Values of a head that an invocation has.
const PER_LANE: u32 = (HEAD_DIM + LANES - 1u) / LANES;

// The first key that query t attends to; the last one is t.
fn first_key(t: u32) -> u32 {
    let start = u32(load_integer(STARTS, p.starts, t));
    // Without a window it has more tokens than there are.
    return max(start, t + 1u - min(t + 1u, p.window));
}

// cap tanh(scale dot / cap), or scale dot.
fn score_of(dot: f32) -> f32 {
    if CAPPED {
        return capped(dot * p.scale, p.cap);
    }
    return dot * p.scale;
}

// The slope of score_of, given its result.
fn slope_of(score: f32) -> f32 {
    if CAPPED {
        let tanh = score / p.cap;
        return p.scale * (1.0 - tanh * tanh);
    }
    return p.scale;
}
