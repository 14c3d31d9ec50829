//! What our products are timed against: that of the `gemm` crate, whose own interface is pointers. `benches/kernel_ratios.rs`
//! alone compiles this; it lies here because unsafe code does.

#![allow(unsafe_code)]

use gemm_common::Parallelism;

/// Computes `y = x · matrix` on `threads` threads: x `[n_rows, n_in]`, matrix `[n_in, n_out]`, y `[n_rows, n_out]`, each row
/// after row without gaps, the layout in which the crate is fastest.
///
/// # Panics
/// If a slice has another length than its shape.
pub fn gemm(x: &[f32], matrix: &[f32], y: &mut [f32], [n_rows, n_in, n_out]: [usize; 3], threads: usize) {
    let shapes = [(x.len(), n_rows, n_in), (matrix.len(), n_in, n_out), (y.len(), n_rows, n_out)];
    assert!(
        shapes.iter().all(|&(len, rows, columns)| rows.checked_mul(columns) == Some(len)),
        "the lengths are those of the shapes"
    );
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    // SAFETY: the slices have exactly the shapes' lengths, and `y` is borrowed alone. Seen as columns, which the crate
    // prefers, the matrices are their transposes: yᵀ = matrixᵀ · xᵀ. What is in `y` is not read.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            n_out,
            n_rows,
            n_in,
            y.as_mut_ptr(),
            n_out as isize,
            1,
            false,
            matrix.as_ptr(),
            n_out as isize,
            1,
            x.as_ptr(),
            n_in as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
