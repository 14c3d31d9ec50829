// Both products without workgroup memory: an invocation turns the weights of its own outputs into floats, four terms at a time, and
// uses them for all tokens of its workgroup. Sums are those of product.wgsl, bit by bit.

const CHAIN = 64u;

@compute @workgroup_size(THREADS)
fn main(invocation: Invocation) {
    let first_output = p.first_output + invocation.workgroup.x * TILE_OUTPUTS;
    let first_token = p.first_token + invocation.workgroup.y * THREAD_TOKENS;
    var sums: array<array<f32, THREAD_OUTPUTS>, THREAD_TOKENS>;
    var chains: array<array<f32, THREAD_OUTPUTS>, THREAD_TOKENS>;
    for (var start = p.first_term; start < p.end_term; start += 4u) {
        let weights = terms_of_outputs(first_output, invocation.index, start);
        take_tokens(invocation, first_token, start);
        for (var t = 0u; t < THREAD_TOKENS; t++) {
            let values = terms_of_token(invocation, first_token, t, start);
            for (var o = 0u; o < THREAD_OUTPUTS; o++) {
                for (var i = 0u; i < 4u; i++) {
                    chains[t][o] = fma(values[i], weights[o][i], chains[t][o]);
                }
            }
        }
        if ((start + 4u) % CHAIN == 0u || start + 4u >= p.end_term) {
            for (var t = 0u; t < THREAD_TOKENS; t++) {
                for (var o = 0u; o < THREAD_OUTPUTS; o++) {
                    sums[t][o] += chains[t][o];
                    chains[t][o] = 0.0;
                }
            }
        }
    }
    for (var t = 0u; t < THREAD_TOKENS; t++) {
        for (var o = 0u; o < THREAD_OUTPUTS; o++) {
            store_result(first_token + t, first_output + output_of(invocation.index, o), sums[t][o]);
        }
    }
}
