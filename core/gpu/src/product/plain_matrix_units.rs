//! Matrix units in plain shaders, for testing what is built around them on a device that has none.

#![allow(clippy::unwrap_used)]

use nightgraft_kernels::{Direction, WeightType};

use super::{Tile, product_program};
use crate::device::lock;
use crate::{Device, Program};

/// Types and functions in place of wgpu's extension. Operands stay in workgroup memory, where `coopLoad` takes them by columns and
/// `coopLoadT` by rows; of a sum each of the 32 lanes holds two values, one behind the other in a row.
const PLAIN: &str = "
struct Square { at: u32, stride: u32 }
fn multiply_add(thread: u32, a: Square, b: Square, c: vec2<f32>) -> vec2<f32> {
    let row = thread % 32u / 4u;
    let column = thread % 4u * 2u;
    var sums = c;
    for (var k = 0u; k < 8u; k++) {
        let value = x_tile[a.at + k * a.stride + row];
        let at = b.at + k * b.stride + column;
        sums = fma(vec2<f32>(value), vec2<f32>(w_tile[at], w_tile[at + 1u]), sums);
    }
    return sums;
}
fn store_rows(thread: u32, sums: vec2<f32>, first: u32, stride: u32) {
    let at = first + thread % 32u / 4u * stride + thread % 4u * 2u;
    results[at] = sums.x;
    results[at + 1u] = sums.y;
}
";

/// What stands in the shader, and what takes its place.
const REPLACED: [(&str, &str); 10] = [
    ("enable wgpu_cooperative_matrix;", ""),
    ("coop_mat8x8<f32, C>", "vec2<f32>"),
    ("coopLoad<coop_mat8x8<f32, A>>(&x_tile[", "Square("),
    ("coopLoadT<coop_mat8x8<f32, B>>(&w_tile[", "Square("),
    ("coopMultiplyAdd(", "multiply_add(thread, "),
    ("coopStoreT(", "store_rows(thread, "),
    ("&results[", ""),
    ("], TILE_OUTPUTS)", ", TILE_OUTPUTS)"),
    ("], X_LINE)", ", X_LINE)"),
    ("], W_LINE)", ", W_LINE)"),
];

/// Lets a device run products with matrix units, with weights of this kind.
pub fn emulate(device: &Device, kind: WeightType) {
    for direction in [Direction::Linear, Direction::Transposed] {
        let program = product_program(kind, direction, Tile::COOPERATIVE).unwrap();
        let mut text = program.text();
        for (found, replacement) in REPLACED {
            text = text.replace(found, replacement);
        }
        let text: &'static str = (text + PLAIN).leak();
        assert!(!text.contains("coop"), "{text}");
        let plain = device.pipeline(&Program::new("linear", [text], []).without_checks()).unwrap();
        lock(&device.pipelines).insert(program, plain);
    }
}
