//! One run of a pipeline, ready to be submitted as often as wanted.

use crate::device::DeviceId;
use crate::{Binding, Device, Error, Pipeline};

/// A pipeline with what is bound to it. It holds the buffers, and reads them when it runs.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub(crate) device: DeviceId,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
    name: &'static str,
    multiply_adds: u64,
}

impl Dispatch {
    /// The name of its program.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// About how much it computes, in multiply-adds: where nothing more was said, one for each invocation of workgroups of 64.
    pub fn multiply_adds(&self) -> u64 {
        self.multiply_adds
    }

    pub(crate) fn with_multiply_adds(self, multiply_adds: u64) -> Self {
        Self { multiply_adds, ..self }
    }

    pub(crate) fn encode(&self, pass: &mut wgpu::ComputePass) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

impl Device {
    /// A run of so many workgroups. In the shader, all in group 0, binding 0 is a uniform with `parameters`, 4 bytes each, and
    /// the storage buffers follow from 1 on.
    ///
    /// A buffer may be bound several times, at places that do not overlap, if the shader declares each of them `read_write`, also
    /// those that it only reads: a buffer is either read or written by a dispatch.
    ///
    /// # Errors
    /// [`Error::OverLimit`] for more workgroups than this device takes; [`Error::Failed`] if bindings are not what the shader
    /// declares; [`Error::OtherDevice`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn dispatch(
        &self,
        pipeline: &Pipeline,
        bindings: &[Binding],
        parameters: &[u32],
        workgroups: [u32; 3],
    ) -> Result<Dispatch, Error> {
        let (what, limit) = (pipeline.name, self.limits().workgroups);
        self.own("a pipeline", pipeline.device)?;
        bindings.iter().try_for_each(|binding| self.own("a buffer", binding.buffer.device))?;
        if let Some(got) = workgroups.into_iter().find(|count| *count > limit) {
            let (limit, got) = (limit.into(), got.into());
            return Err(Error::OverLimit { what, unit: "workgroups", limit, got });
        }
        // The sizes of uniform structures are multiples of 16 bytes.
        let size = (4 * parameters.len() as u64).next_multiple_of(16).max(16);
        let uniform = self.guarded(what, size, || {
            let buffer = self.inner().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            self.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(parameters));
            buffer
        })?;
        let first = wgpu::BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() };
        let others = bindings.iter().zip(1..).map(|(piece, binding)| {
            let buffer = wgpu::BufferBinding {
                buffer: &piece.buffer.inner,
                offset: piece.offset,
                size: wgpu::BufferSize::new(piece.bytes),
            };
            wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) }
        });
        let entries: Vec<_> = [first].into_iter().chain(others).collect();
        let bindings = self.guarded(what, 0, || {
            self.inner().create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.inner.get_bind_group_layout(0),
                entries: &entries,
            })
        })?;
        let multiply_adds = workgroups.into_iter().map(u64::from).product::<u64>() * 64;
        Ok(Dispatch {
            device: self.id(),
            pipeline: pipeline.inner.clone(),
            bindings,
            workgroups,
            name: what,
            multiply_adds,
        })
    }
}
