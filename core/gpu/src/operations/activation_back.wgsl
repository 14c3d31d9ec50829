// The gradients of activation, each in the place of what it needs: gate = dy up f'(gate), up = dy f(gate), and dy becomes the
// result y = f(gate) up. Without up, if not GATED, gate = dy f'(gate). All [T, n]; gate and up may be columns of one matrix.
struct Parameters {
    gate: Matrix,
    up: Matrix,
    dy: Matrix,
}

@group(0) @binding(0) var<uniform> p: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.dy.n_cols {
        return;
    }
    let f = value_and_slope(load(GATE, p.gate, id.y, id.x));
    let dy = load(DY, p.dy, id.y, id.x);
    if GATED {
        let up = load(UP, p.up, id.y, id.x);
        store(GATE, p.gate, id.y, id.x, dy * up * f.y);
        store(UP, p.up, id.y, id.x, dy * f.x);
        store(DY, p.dy, id.y, id.x, f.x * up);
    } else {
        store(GATE, p.gate, id.y, id.x, dy * f.y);
        store(DY, p.dy, id.y, id.x, f.x);
    }
}
