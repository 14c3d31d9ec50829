//! What wgpu calls unsafe: shaders that are not checked while they run, compiled shaders that come from a file, and what wgpu itself
//! calls an experiment.

#![allow(unsafe_code)]

use crate::PipelineData;

/// A shader without run-time checks of indices and loops. The text is still validated, and so is what is bound to it.
///
/// Only products are made so ([`Program::without_checks`](crate::Program)): their inner loops are where all of the time goes, and
/// Metal has no bounds checks of its own, so that each load would carry a comparison.
pub(crate) fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor,
) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks::unchecked();
    // SAFETY: without checks an index outside of a buffer, a loop without end or a division by zero would be undefined. The text is
    // one of this crate's own, never from outside. `product` computes its dispatches from shapes that it has checked: every row and
    // column that the shader reads or writes is compared with `n_tokens`, `n_rows` or `n_cols`, whose last element it has found
    // inside the binding; bytes of weights are read in whole words, to which uploads are rounded up; indices into workgroup memory
    // and registers are remainders of or loops to constants, lanes of a subgroup are below its size; loops go up by constants to
    // numbers below 2^31; divisors are constants that are not 0.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// The driver's collection of compiled shaders, beginning with those of an earlier process.
pub(crate) fn pipeline_cache(device: &wgpu::Device, data: Option<&PipelineData>) -> wgpu::PipelineCache {
    let data = data.map(PipelineData::as_slice);
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    // SAFETY: data must be what `get_data` gave: `PipelineData` is made of that alone, or of bytes with a checksum of it, which no
    // damage leaves right. wgpu compares the adapter and the driver itself, and begins anew where they differ.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

/// Leave to use matrix units, which wgpu has not had for long.
pub(crate) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: whoever asks for it accepts that wgpu's own code for it may be wrong. One shader of this crate uses it, whose text is
    // validated, and whose numbers are compared with the CPU's on each device before anything rests on them.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
