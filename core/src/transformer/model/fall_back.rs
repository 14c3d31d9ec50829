//! What a model does where its GPU fails: with less memory on the same one, or on the CPU.

use super::{DeviceFailure, Model, ModelGpu, Parts, is_larger_than_memory};
use crate::error::{GpuError, is_out_of_memory};
use crate::transformer::processor::Processor;
use crate::transformer::recompute::RecomputePolicy;
use crate::{Error, Result};

impl Model {
    /// Does work, with less memory or on the CPU if the GPU fails at it. A GPU changes nothing of the host's before it has done all of it.
    pub(super) fn on_any_device<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        loop {
            match work(self) {
                Err(Error::Gpu(error)) => self.fall_back(error)?,
                result => return result,
            }
        }
    }

    /// Takes less memory on a GPU that has no more, for good; else leaves the GPU.
    fn fall_back(&mut self, error: GpuError) -> Result<()> {
        let Some(ModelGpu { device, recompute }) = &mut self.options.gpu else { return Err(error.into()) };
        let name = device.name();
        if is_out_of_memory(&error) && *recompute != RecomputePolicy::MIN_MEMORY {
            tracing::warn!(device = %name, %error, "the GPU computes with as little memory as can be from here on");
            *recompute = RecomputePolicy::MIN_MEMORY;
            return self.start_anew();
        }
        tracing::warn!(device = %name, %error, "the GPU failed: the CPU computes from here on");
        self.options.gpu = None;
        self.start_anew()?;
        self.is_larger_than_memory = is_larger_than_memory(&self.base);
        self.failure = Some(DeviceFailure { device: name, error });
        Ok(())
    }

    /// Gives another processor this one's place.
    fn start_anew(&mut self) -> Result<()> {
        // What is there goes before its successor takes memory, which may be the same.
        self.release();
        self.parts.processor = Processor::cpu(self.options.n_threads, self.stop.clone())?;
        if let Some(gpu) = &self.options.gpu {
            gpu.device.free_memory();
        }
        self.recompute = self.wanted_policy();
        let processor = self.options.processor(self.stop.clone())?;
        self.parts = Parts::new(&self.base, self.adapter.as_ref(), &self.options, processor)?;
        Ok(())
    }
}
