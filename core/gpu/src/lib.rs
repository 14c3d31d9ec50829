//! Compute on GPUs, through Vulkan and Metal.
//!
//! * [`adapters`] lists the GPUs of this machine, what each can do ([`Limits`]), and why one is refused ([`Refusal`]).
//! * A [`Device`] has memory ([`Buffer`]) and runs shaders: a [`Program`] becomes a pipeline once, a pipeline with what is bound to
//!   it a [`Dispatch`], and dispatches are submitted in order.
//! * A [`Matrix`] is weights in any format that the kernels read themselves, in the blocks of its file. A [`Product`] multiplies
//!   rows by it or by its transpose, cut into [`Tile`]s; one that is larger than a binding is bound by rows.
//! * [`check_products`] compares a device's products with the CPU's, and [`measure_products`] times them: drivers were seen that
//!   compute wrong numbers, and every device has another fastest tile.
//!
//! * An [`Executor`] computes the graphs that the engine runs on the CPU: it walks through their nodes, and makes a dispatch of each.
//!
//! Whatever a device or its driver does wrong comes back as an [`Error`]: nothing here panics or ends the process. Work is cut so
//! that it runs within [`Limits::LEAST`], which modest phones have.
//!
//! The code is safe, but for three functions: one makes shaders without run-time checks of shapes that were checked before, one gives
//! a driver back what it has compiled, and one allows matrix units.
//!
//! ```
//! use nightgraft_gpu::{BufferRows, Product, Tile, adapters};
//! use nightgraft_kernels::{Direction, WeightType, Weights};
//!
//! // Any device, also one in software; without one there is nothing to show.
//! let allow_software = true;
//! let usable = adapters().into_iter().find(|adapter| adapter.refusal(allow_software).is_none());
//! let Some(adapter) = usable else { return Ok(()) };
//! let device = adapter.open(allow_software)?;
//!
//! let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let weights = Weights::new(WeightType::F32, 2, 2, &bytes).expect("four values");
//! let matrix = device.upload_matrix(weights)?;
//! let (x, y) = (device.upload_floats("x", &[10.0, 1.0])?, device.zeros("y", 2)?);
//! let product = Product {
//!     matrix: &matrix,
//!     direction: Direction::Linear,
//!     input: BufferRows::whole(&x, [1, 2])?,
//!     output: BufferRows::whole(&y, [1, 2])?,
//!     scale: 1.0,
//!     accumulate: false,
//!     scales: None,
//! };
//! device.submit(&device.product(&product, Tile::unmeasured(1))?)?;
//! assert_eq!(device.read_floats(&y, 0, 2)?, [12.0, 34.0]);
//! # Ok::<(), nightgraft_gpu::Error>(())
//! ```

mod adapter;
mod buffer;
mod device;
#[cfg(test)]
mod device_tests;
mod dispatch;
mod error;
mod executor;
mod formats;
mod limits;
mod operations;
mod pipeline_data;
mod probe;
mod product;
mod program;
mod sample;
mod tally;
#[cfg(test)]
mod testing;
mod unchecked;

pub use adapter::{Adapter, AdapterInfo, AdapterKind, Backend, Features, Refusal, adapters};
pub use buffer::{Binding, Buffer, BufferRows};
pub use device::{Device, SimulatedFault, Submission};
pub use dispatch::Dispatch;
pub use error::Error;
pub use executor::{Activity, Executor, LoadedGraph, SLOWEST, ShaderTime};
pub use formats::weight_sources;
pub use limits::{Limit, Limits};
pub use pipeline_data::PipelineData;
pub use probe::{
    LEAST_COSINE, MOST_RELATIVE_ERROR, Opener, ProductCheck, ProductSpeed, Speed, Tuning, check_products,
    measure_peak, measure_products, tune,
};
pub use product::{Arithmetic, Matrix, Product, Tile, Tiles, product_program};
pub use program::{Constant, Pipeline, Program};
