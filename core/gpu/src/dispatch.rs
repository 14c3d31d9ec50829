//! One run of a pipeline, ready to be submitted as often as wanted.

use crate::device::{DeviceId, lock};
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

/// Bytes that the parameters of a dispatch have, which is also what offsets of uniform buffers are multiples of on every device.
const SLOT: u64 = 256;
/// Dispatches whose parameters are in one buffer.
const SLOTS: u64 = 256;

/// Where the parameters of dispatches go: many share a buffer, which is freed with the last of them.
#[derive(Debug, Default)]
pub(crate) struct ParameterSlots {
    buffer: Option<wgpu::Buffer>,
    used: u64,
}

impl ParameterSlots {
    /// A place that no dispatch has: a buffer, and the first of its bytes there.
    fn take(&mut self, device: &wgpu::Device) -> (wgpu::Buffer, u64) {
        if self.used == SLOTS {
            *self = Self::default();
        }
        let make = || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: SLOT * SLOTS,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let buffer = self.buffer.get_or_insert_with(make).clone();
        let offset = SLOT * self.used;
        self.used += 1;
        (buffer, offset)
    }
}

impl Dispatch {
    /// The name of its program.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// About how much it computes, in multiply-adds of products: where nothing more was said, one for each invocation of workgroups
    /// of 64.
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
        let bytes = bytemuck::cast_slice(parameters);
        if bytes.len() as u64 > SLOT {
            let (limit, got) = (SLOT, bytes.len() as u64);
            return Err(Error::OverLimit { what, unit: "bytes of parameters", limit, got });
        }
        let bindings = self.guarded(what, SLOT, || {
            let (slots, offset) = lock(&self.parameters).take(self.inner());
            self.queue().write_buffer(&slots, offset, bytes);
            // The sizes of uniform structures are multiples of 16 bytes.
            let size = (bytes.len() as u64).next_multiple_of(16).max(16);
            let binding = |buffer, offset, bytes| {
                let size = wgpu::BufferSize::new(bytes);
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
            };
            let first = wgpu::BindGroupEntry { binding: 0, resource: binding(&slots, offset, size) };
            let others = bindings.iter().zip(1..).map(|(piece, number)| wgpu::BindGroupEntry {
                binding: number,
                resource: binding(&piece.buffer.inner, piece.offset, piece.bytes),
            });
            let entries: Vec<_> = [first].into_iter().chain(others).collect();
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
