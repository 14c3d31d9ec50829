// What a workgroup has of both sides of a product: a slice of DEPTH terms at a time, the weights as floats, for TILE_TOKENS ×
// TILE_OUTPUTS results.

// Lines of the tiles, one for each term; an odd length spreads them over the memory's banks.
const X_LINE = TILE_TOKENS + LINE_PADDING;
const W_LINE = TILE_OUTPUTS + LINE_PADDING;

var<workgroup> x_tile: array<Operand, DEPTH * X_LINE>;
var<workgroup> w_tile: array<Operand, DEPTH * W_LINE>;

fn stage_tokens(thread: u32, first_token: u32, start: u32) {
    for (var i = thread; i < TILE_TOKENS * DEPTH; i += THREADS) {
        let token = i / DEPTH;
        let term = i % DEPTH;
        var value = 0.0;
        if (first_token + token < p.n_tokens && start + term < p.end_term) {
            let row = first_token + token;
            value = x[p.x_first + row * p.x_stride + start + term] * x_factor(row);
        }
        x_tile[term * X_LINE + token] = Operand(value);
    }
}
