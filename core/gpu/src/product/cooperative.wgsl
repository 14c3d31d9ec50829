// Both products with matrix units: a workgroup of four subgroups of 32 lanes computes 32 × 32 results, each subgroup 16 × 16 of them as
// four matrices of 8 × 8. The slices are those of the other products. Sums are one chain over the terms of a dispatch.

var<workgroup> results: array<f32, TILE_TOKENS * TILE_OUTPUTS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_output = p.first_output + group.x * TILE_OUTPUTS;
    let first_token = p.first_token + group.y * TILE_TOKENS;
    // The part of this subgroup.
    let line = thread / 64u * 16u;
    let column = thread / 32u % 2u * 16u;
    var sums00 = coop_mat8x8<f32, C>();
    var sums01 = coop_mat8x8<f32, C>();
    var sums10 = coop_mat8x8<f32, C>();
    var sums11 = coop_mat8x8<f32, C>();
    for (var start = p.first_term; start < p.end_term; start += DEPTH) {
        stage_tokens(thread, first_token, start);
        stage_weights(thread, first_output, start);
        workgroupBarrier();
        for (var term = 0u; term < DEPTH; term += 8u) {
            // The tokens of a term follow each other, and so do its outputs.
            let x0 = coopLoad<coop_mat8x8<f32, A>>(&x_tile[term * X_LINE + line], X_LINE);
            let x1 = coopLoad<coop_mat8x8<f32, A>>(&x_tile[term * X_LINE + line + 8u], X_LINE);
            let w0 = coopLoadT<coop_mat8x8<f32, B>>(&w_tile[term * W_LINE + column], W_LINE);
            let w1 = coopLoadT<coop_mat8x8<f32, B>>(&w_tile[term * W_LINE + column + 8u], W_LINE);
            sums00 = coopMultiplyAdd(x0, w0, sums00);
            sums01 = coopMultiplyAdd(x0, w1, sums01);
            sums10 = coopMultiplyAdd(x1, w0, sums10);
            sums11 = coopMultiplyAdd(x1, w1, sums11);
        }
        workgroupBarrier();
    }
    coopStoreT(sums00, &results[line * TILE_OUTPUTS + column], TILE_OUTPUTS);
    coopStoreT(sums01, &results[line * TILE_OUTPUTS + column + 8u], TILE_OUTPUTS);
    coopStoreT(sums10, &results[(line + 8u) * TILE_OUTPUTS + column], TILE_OUTPUTS);
    coopStoreT(sums11, &results[(line + 8u) * TILE_OUTPUTS + column + 8u], TILE_OUTPUTS);
    workgroupBarrier();
    for (var i = thread; i < TILE_TOKENS * TILE_OUTPUTS; i += THREADS) {
        store_result(first_token + i / TILE_OUTPUTS, first_output + i % TILE_OUTPUTS, results[i]);
    }
}
