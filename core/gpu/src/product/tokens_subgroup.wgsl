// The lanes of a subgroup read as many terms of the workgroup's tokens as there are lanes, one each, and pass them to each other. A
// subgroup has 4 to THREADS lanes, a power of two.

struct Invocation {
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_size) lanes: u32,
    @builtin(subgroup_invocation_id) lane: u32,
}

// This lane's term of each token.
var<private> held: array<f32, THREAD_TOKENS>;

fn take_tokens(invocation: Invocation, first_token: u32, start: u32) {
    if (holder_of(invocation, start) == 0u) {
        let term = start + invocation.lane;
        for (var t = 0u; t < THREAD_TOKENS; t++) {
            let token = first_token + t;
            held[t] = 0.0;
            if (token < p.n_tokens && term < p.end_term) {
                held[t] = x[p.x_first + token * p.x_stride + term];
            }
        }
    }
}

// The lane that holds a term.
fn holder_of(invocation: Invocation, term: u32) -> u32 {
    return (term - p.first_term) & (invocation.lanes - 1u);
}

// Four terms of the t-th token from `start` on.
fn terms_of_token(invocation: Invocation, first_token: u32, t: u32, start: u32) -> vec4<f32> {
    let holder = holder_of(invocation, start);
    return vec4<f32>(
        subgroupShuffle(held[t], holder),
        subgroupShuffle(held[t], holder + 1u),
        subgroupShuffle(held[t], holder + 2u),
        subgroupShuffle(held[t], holder + 3u),
    );
}
