//! How many submissions a device has run to their end, counted by the device itself.
//!
//! Where a command buffer of Metal's fails, because memory is short, it takes too long or an app is in the background, wgpu takes it
//! for complete: it waits for the status `Completed` or `Error` (wgpu-hal 30.0.2, `metal/mod.rs`, `Fence::get_latest`). What the buffer
//! was to write would be old or zeros then, with no word of it. So each submission that writes anything ends with counting, and whoever
//! reads results reads the count with them.

use std::sync::Mutex;

/// The device's count and the host's.
#[derive(Debug)]
pub(crate) struct Tally {
    pub count: wgpu::Buffer,
    number: wgpu::Buffer,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    /// What the device's count is when all is done. Whoever submits holds it, so that a reader knows what is in front of it.
    pub expected: Mutex<u32>,
}

/// Bytes of the count.
pub(crate) const TALLY_BYTES: u64 = 4;

/// What both begin with: memory that nobody has written to is 0.
const FIRST: u32 = 1;

impl Tally {
    /// The device's faults come to its handlers.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let buffer = || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("tally"),
                size: TALLY_BYTES,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let (count, number) = (buffer(), buffer());
        queue.write_buffer(&count, 0, &FIRST.to_le_bytes());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("tally"),
            source: wgpu::ShaderSource::Wgsl(include_str!("tally.wgsl").into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("tally"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: count.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: number.as_entire_binding() },
            ],
        });
        Self { count, number, pipeline, bindings, expected: Mutex::new(FIRST) }
    }

    /// Counts up to this number, behind all that the encoder has so far.
    pub fn encode(&self, queue: &wgpu::Queue, encoder: &mut wgpu::CommandEncoder, number: u32) {
        queue.write_buffer(&self.number, 0, &number.to_le_bytes());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}
