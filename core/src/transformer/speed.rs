//! What the processor does, seen from below a model: its instructions, its fastest product, where time goes.

use std::time::Duration;

use nightgraft_ggml::{Buffer, Cpu, Graph};
pub use nightgraft_ggml::{OpTime, op_times, set_profiling};

use crate::Result;

/// What computes, and with which instructions: `cpu, avx512vnni`.
pub fn device() -> String {
    format!("cpu, {}", nightgraft_ggml::instructions())
}

/// The best rate of a product of f32 matrices on all threads, in billions of operations a second: 256 rows times a matrix
/// of 1024 by 1024. `clock` tells the time that each thread has had.
///
/// # Errors
/// [`Error::Ggml`](crate::Error::Ggml) if memory runs out.
pub fn gemm_gflops(n_threads: usize, clock: impl Fn() -> Duration) -> Result<f64> {
    const ROWS: usize = 256;
    const WIDTH: usize = 1024;
    let mut cpu = Cpu::new(n_threads, Default::default())?;
    let (w, x) = (Buffer::f32(WIDTH, WIDTH)?, Buffer::f32(ROWS, WIDTH)?);
    let mut graph = Graph::new(8)?;
    let (w, x) = (graph.tensor(&w)?, graph.tensor(&x)?);
    let y = graph.linear(w, x)?;
    graph.schedule(y)?;
    // Processor time of other threads is known to some milliseconds only.
    const PRODUCTS: usize = 40;
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let began = clock();
        for _ in 0..PRODUCTS {
            cpu.compute(&mut graph)?;
        }
        best = best.min((clock() - began).as_secs_f64());
    }
    Ok(2.0 * (PRODUCTS * ROWS * WIDTH * WIDTH) as f64 / best * 1e-9)
}
