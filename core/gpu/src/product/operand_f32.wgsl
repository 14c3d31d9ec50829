// Operands in workgroup memory are as they are.

alias Operand = f32;

// What a row of x is multiplied with before, and its results afterwards.
fn x_factor(token: u32) -> f32 {
    return 1.0;
}

fn y_factor(token: u32) -> f32 {
    return 1.0;
}
