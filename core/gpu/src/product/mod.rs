//! Products with weights in any format of the kernels, and with their transpose, as shaders.
//!
//! Weights stay in their file's own blocks. A workgroup turns those of its tile into floats once, in its own memory or in registers,
//! and uses them for all of its tokens ([`Tile`]): the two directions differ in how that tile is filled, and in nothing else.

mod matrix;
#[cfg(test)]
mod plain_matrix_units;
#[cfg(test)]
mod tests;
mod tile;

use nightgraft_kernels::{Direction, WeightType};

use crate::operations::row_scales;
use crate::program::HALVES;
use crate::{Binding, BufferRows, Device, Dispatch, Error, Program, weight_sources};
pub use matrix::Matrix;
use matrix::MatrixPart;
pub(crate) use tile::Method;
pub use tile::{Arithmetic, Tile, Tiles};

/// The extension of WGSL for matrix units.
pub(crate) const MATRIX_UNITS: &str = "wgpu_cooperative_matrix";

/// The most terms that a dispatch sums up; a multiple of the shader's chains. What a workgroup does alone would take too long with
/// more, on a device with many slow cores, and Mesa's lavapipe ends all loops of an invocation together after 65535 turns. It is the
/// same for every device, so that the bits are.
const MOST_TERMS: u32 = 4096;

/// `output (+)= scale · input · Wᵀ`, or `scale · input · W`.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// `W`, `[n_out, n_in]`.
    pub matrix: &'a Matrix,
    /// Which of the two.
    pub direction: Direction,
    /// `[T, n_in]`, or `[T, n_out]` for the transposed product.
    pub input: BufferRows<'a>,
    /// `[T, n_out]`, or `[T, n_in]` for the transposed product. It may be in the input's buffer, at another place.
    pub output: BufferRows<'a>,
    /// A factor of the product.
    pub scale: f32,
    /// Whether it is added to what the output holds.
    pub accumulate: bool,
    /// Memory `[T, 2]` that tiles of half precision need.
    pub scales: Option<BufferRows<'a>>,
}

/// The shader of a product.
///
/// # Errors
/// [`Error::WeightType`]
pub fn product_program(kind: WeightType, direction: Direction, tile: Tile) -> Result<Program, Error> {
    let method = tile.method();
    let mut sources = vec![include_str!("operands.wgsl")];
    sources.push(match method {
        Method::StagedF16 => include_str!("operand_f16.wgsl"),
        Method::Staged | Method::Cooperative | Method::Direct | Method::Subgroup => {
            include_str!("operand_f32.wgsl")
        }
    });
    sources.extend(weight_sources(kind)?);
    let (name, staged, direct) = match direction {
        Direction::Linear => ("linear", include_str!("linear.wgsl"), include_str!("direct_linear.wgsl")),
        Direction::Transposed => (
            "linear_transposed",
            include_str!("linear_transposed.wgsl"),
            include_str!("direct_transposed.wgsl"),
        ),
    };
    let tiles = include_str!("tiles.wgsl");
    let [operands, weights, main] = match method {
        Method::Staged | Method::StagedF16 => [tiles, staged, include_str!("product.wgsl")],
        Method::Cooperative => [tiles, staged, include_str!("cooperative.wgsl")],
        Method::Direct => [include_str!("tokens_memory.wgsl"), direct, include_str!("direct.wgsl")],
        Method::Subgroup => [include_str!("tokens_subgroup.wgsl"), direct, include_str!("direct.wgsl")],
    };
    sources.extend([operands, weights, include_str!("result.wgsl"), main]);
    let program = Program::new(name, sources, tile.constants()).without_checks();
    Ok(program.with_extension(match method {
        Method::Staged | Method::Direct | Method::Subgroup => None,
        Method::StagedF16 => Some(HALVES),
        Method::Cooperative => Some(MATRIX_UNITS),
    }))
}

impl Device {
    /// The dispatches of a product, to be run in this order: one for each piece of the matrix.
    ///
    /// # Errors
    /// They are those of [`product_in_pieces`](Self::product_in_pieces).
    pub fn product(&self, product: &Product, tile: Tile) -> Result<Vec<Dispatch>, Error> {
        self.product_in_pieces(product, tile, u64::MAX)
    }

    /// Makes a [`product`](Self::product) of dispatches of at most so many multiply-adds each, but of a workgroup's at least, for
    /// devices that must not be kept busy for long. The result has the same bits.
    ///
    /// # Errors
    /// [`Error::Shape`], also without memory that the tile needs; [`Error::OverLimit`] if input or output is more than a binding;
    /// [`Error::Failed`] for a tile that does not [fit](Tile::fits); [`Error::OtherDevice`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn product_in_pieces(
        &self,
        product: &Product,
        tile: Tile,
        most_multiply_adds: u64,
    ) -> Result<Vec<Dispatch>, Error> {
        let Product { matrix, direction, input, output, .. } = *product;
        let (op, n_in, n_out) = match direction {
            Direction::Linear => ("linear", matrix.n_cols(), matrix.n_rows()),
            Direction::Transposed => ("linear_transposed", matrix.n_rows(), matrix.n_cols()),
        };
        for (what, expected, got) in [
            ("columns of the input", n_in, input.n_cols()),
            ("columns of the output", n_out, output.n_cols()),
            ("rows of the output", input.n_rows(), output.n_rows()),
        ] {
            if expected != got {
                return Err(Error::Shape { op, what, expected: expected.into(), got: got.into() });
            }
        }
        if input.n_rows() == 0 {
            return Ok(Vec::new());
        }
        if !tile.has_whole_subgroups(&self.info().features) {
            let reason = format!("its subgroups are no whole part of a tile {tile}");
            return Err(Error::Failed { what: op, reason });
        }
        let pipeline = self.pipeline(&product_program(matrix.kind(), direction, tile)?)?;
        let (x, x_first) = input.bind(self)?;
        let (y, y_first) = output.bind(self)?;
        let mut dispatches = Vec::new();
        let mut scales = None;
        if tile.arithmetic() == Arithmetic::F16 {
            let missing = Error::Shape { op, what: "factors of the rows", expected: 2, got: 0 };
            let rows = product.scales.ok_or(missing)?;
            dispatches.push(row_scales(self, input, rows)?);
            scales = Some(rows.bind(self)?);
        }
        for part in matrix.parts() {
            let (w, mut parameters) = part_parameters(self, product, part, [x_first, y_first])?;
            let bindings: Vec<_> = [w, x, y].into_iter().chain(scales.map(|(scales, _)| scales)).collect();
            parameters[15] = scales.map_or(0, |(_, first)| first);
            let (depth, n_outputs) = match direction {
                Direction::Linear => (matrix.n_cols(), part.n_rows),
                Direction::Transposed => (part.n_rows, matrix.n_cols()),
            };
            let groups = [n_outputs.div_ceil(tile.outputs()), input.n_rows().div_ceil(tile.tokens())];
            for first_term in (0..depth).step_by(MOST_TERMS as usize) {
                let end_term = depth.min(first_term + MOST_TERMS);
                // The shader calls these `accumulate`, `first_term` and `end_term`, and two more below `first_token` and
                // `first_output`.
                if first_term > 0 {
                    parameters[11] = 1;
                }
                parameters[13..15].copy_from_slice(&[first_term, end_term]);
                let n_terms = u64::from(end_term - first_term);
                let of_group = u64::from(tile.tokens()) * u64::from(tile.outputs()) * n_terms;
                let most = u32::try_from(most_multiply_adds / of_group).unwrap_or(u32::MAX);
                for (first, [columns, lines]) in blocks(groups, most, self.limits().workgroups) {
                    let place = [first[1] * tile.tokens(), first[0] * tile.outputs()];
                    parameters[9..11].copy_from_slice(&place);
                    let dispatch = self.dispatch(&pipeline, &bindings, &parameters, [columns, lines, 1])?;
                    // Groups at the edges do as much as the others.
                    let multiply_adds = u64::from(columns) * u64::from(lines) * of_group;
                    dispatches.push(dispatch.with_multiply_adds(multiply_adds));
                }
            }
        }
        Ok(dispatches)
    }
}

/// Cuts a grid of workgroups into blocks of whole lines, or, if a line is too long, of parts of a line: at most `most` of them, and
/// `longest` along each axis. Gives the first workgroup and the size of each.
fn blocks([columns, lines]: [u32; 2], most: u32, longest: u32) -> impl Iterator<Item = ([u32; 2], [u32; 2])> {
    let width = columns.min(most).min(longest).max(1);
    let height = if width == columns { (most / width).min(longest).max(1) } else { 1 };
    (0..lines.div_ceil(height)).flat_map(move |y| {
        (0..columns.div_ceil(width)).map(move |x| {
            let first = [x * width, y * height];
            (first, [width.min(columns - first[0]), height.min(lines - first[1])])
        })
    })
}

/// The piece of weights, and the values of `Parameters` in `operands.wgsl`.
///
/// No place that the shader computes overflows: those in bytes of weights are in a piece of less than 2^31 bytes, those in floats in
/// bindings that are below 2^32 floats. It begins with the first token and output.
fn part_parameters<'a>(
    device: &Device,
    product: &Product<'a>,
    part: &'a MatrixPart,
    [x_first, y_first]: [u32; 2],
) -> Result<(Binding<'a>, [u32; 16]), Error> {
    let Product { matrix, direction, input, output, scale, accumulate, .. } = *product;
    let (w, w_first) = part.bind(device)?;
    // The rows of a piece are columns of the output, or of the input; then each piece adds to what those before it gave.
    let (x_first, y_first, accumulate) = match direction {
        Direction::Linear => (x_first, y_first + part.first_row, accumulate),
        Direction::Transposed => (x_first + part.first_row, y_first, accumulate || part.first_row > 0),
    };
    let parameters = [
        input.n_rows(),
        part.n_rows,
        matrix.n_cols(),
        part.row_bytes,
        w_first,
        x_first,
        y_first,
        input.stride(),
        output.stride(),
        0,
        0,
        accumulate.into(),
        scale.to_bits(),
        0,
        0,
        0,
    ];
    Ok((w, parameters))
}
