//! What goes wrong on a GPU, which a build without one never does.

#[cfg(feature = "gpu")]
pub use nightgraft_gpu::Error as GpuError;

/// There are no values of it: nothing is computed on a GPU in this build.
#[cfg(not(feature = "gpu"))]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {}

/// Whether it is no fault, but the flag that stops work was raised.
pub(super) fn is_stopped(error: &GpuError) -> bool {
    #[cfg(feature = "gpu")]
    return *error == GpuError::Stopped;
    #[cfg(not(feature = "gpu"))]
    match *error {}
}

/// Whether it may do the same with less memory.
pub(crate) fn is_out_of_memory(error: &GpuError) -> bool {
    #[cfg(feature = "gpu")]
    return matches!(error, GpuError::OutOfMemory { .. });
    #[cfg(not(feature = "gpu"))]
    match *error {}
}
