// Where operands lie: up to four buffers, and in one of them a matrix. The constants X, Y and so on in front of a text say which
// buffer an operand is in, so that several operands, and such as are written, may lie in one. They are words, because integers and
// pairs of bfloat16 lie among the floats.

// Value (row, column) is word `first + row stride + column`.
struct Matrix {
    first: u32,
    stride: u32,
    n_rows: u32,
    n_cols: u32,
}

@group(0) @binding(1) var<storage, read_write> memory0: array<u32>;
@group(0) @binding(2) var<storage, read_write> memory1: array<u32>;
@group(0) @binding(3) var<storage, read_write> memory2: array<u32>;
@group(0) @binding(4) var<storage, read_write> memory3: array<u32>;

fn load_word(buffer: u32, place: u32) -> u32 {
    switch buffer {
        case 0u: { return memory0[place]; }
        case 1u: { return memory1[place]; }
        case 2u: { return memory2[place]; }
        default: { return memory3[place]; }
    }
}

fn store_word(buffer: u32, place: u32, word: u32) {
    switch buffer {
        case 0u: { memory0[place] = word; }
        case 1u: { memory1[place] = word; }
        case 2u: { memory2[place] = word; }
        default: { memory3[place] = word; }
    }
}

fn place_of(matrix: Matrix, row: u32, column: u32) -> u32 {
    return matrix.first + row * matrix.stride + column;
}

fn load(buffer: u32, matrix: Matrix, row: u32, column: u32) -> f32 {
    return bitcast<f32>(load_word(buffer, place_of(matrix, row, column)));
}

fn store(buffer: u32, matrix: Matrix, row: u32, column: u32, value: f32) {
    store_word(buffer, place_of(matrix, row, column), bitcast<u32>(value));
}

// Value i of a row of integers.
fn load_integer(buffer: u32, row: Matrix, i: u32) -> i32 {
    return bitcast<i32>(load_word(buffer, row.first + i));
}
