// What a product is added to: nothing if ADDEND_KIND is 0, what y holds already if it is 1, else another matrix, whose stride is 0
// if all of its rows are one.
fn addend(row: u32, column: u32) -> f32 {
    switch ADDEND_KIND {
        case 0u: { return 0.0; }
        case 1u: { return load(Y, p.y, row, column); }
        default: { return load(ADDEND, p.addend, row, column); }
    }
}
