// Both products in tiles: a workgroup computes TILE_TOKENS × TILE_OUTPUTS results, and an invocation THREAD_TOKENS × THREAD_OUTPUTS
// of them in registers. Each result is a sum of chains of CHAIN multiply-adds in the order of the terms, whatever the tile: in one
// chain, everything that comes after a large term would lose its last digits.

const COLUMNS = TILE_OUTPUTS / THREAD_OUTPUTS;
const TOKEN_STEP = TILE_TOKENS / THREAD_TOKENS;
// Every tile's depth divides it.
const CHAIN = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_output = p.first_output + group.x * TILE_OUTPUTS;
    let first_token = p.first_token + group.y * TILE_TOKENS;
    // Neighbours take neighbouring outputs.
    let column = thread % COLUMNS;
    let line = thread / COLUMNS;
    var sums: array<array<f32, THREAD_OUTPUTS>, THREAD_TOKENS>;
    var chains: array<array<f32, THREAD_OUTPUTS>, THREAD_TOKENS>;
    for (var start = p.first_term; start < p.end_term; start += DEPTH) {
        stage_tokens(thread, first_token, start);
        stage_weights(thread, first_output, start);
        workgroupBarrier();
        for (var term = 0u; term < DEPTH; term++) {
            var weights: array<f32, THREAD_OUTPUTS>;
            for (var o = 0u; o < THREAD_OUTPUTS; o++) {
                weights[o] = f32(w_tile[term * W_LINE + column + o * COLUMNS]);
            }
            for (var t = 0u; t < THREAD_TOKENS; t++) {
                let value = f32(x_tile[term * X_LINE + line + t * TOKEN_STEP]);
                for (var o = 0u; o < THREAD_OUTPUTS; o++) {
                    chains[t][o] = fma(value, weights[o], chains[t][o]);
                }
            }
        }
        if ((start + DEPTH) % CHAIN == 0u || start + DEPTH >= p.end_term) {
            for (var t = 0u; t < THREAD_TOKENS; t++) {
                for (var o = 0u; o < THREAD_OUTPUTS; o++) {
                    sums[t][o] += chains[t][o];
                    chains[t][o] = 0.0;
                }
            }
        }
        workgroupBarrier();
    }
    for (var t = 0u; t < THREAD_TOKENS; t++) {
        for (var o = 0u; o < THREAD_OUTPUTS; o++) {
            store_result(first_token + line + t * TOKEN_STEP, first_output + column + o * COLUMNS, sums[t][o]);
        }
    }
}
