//! A micro-batch whose graphs a GPU computes, for comparing it with the processor. The host embeds the tokens, gathers the rows that
//! have a target and brings their gradients back to their places, as it does for the processor.

use nightgraft_ggml::{Buffer, Error};
use nightgraft_gpu::{Device, Executor, LoadedGraph, Tile};
use nightgraft_text::data::Batch;

use super::{LossSum, Mode, Model, head_graph, supervised};
use crate::Result;
use crate::lora::Adapter;

/// What a device made of a micro-batch.
pub struct GpuStep {
    pub sum: LossSum,
    /// In the order of the adapter's parameters.
    pub gradients: Vec<Vec<f32>>,
    /// Runs of shaders.
    pub n_dispatches: usize,
}

impl Model {
    /// [`Model::accumulate_gradients`] on a device, from gradients of zero, for a micro-batch whose targets are one chunk.
    pub fn gradients_on(&mut self, device: &Device, adapter: &Adapter, batch: &Batch) -> Result<GpuStep> {
        adapter.clear_gradients()?;
        let n_tokens = batch.ids.len();
        self.prepare_layers(n_tokens, Mode::Train)?;
        self.set_inputs(batch)?;
        let positions: Vec<usize> = supervised(batch).collect();
        let targets: Vec<i32> = positions.iter().map(|&t| batch.targets[t]).collect();
        let targets_buffer = Buffer::i32(targets.len())?;
        targets_buffer.write_i32(&targets)?;
        let chunk = [&self.chunk.x, &self.chunk.dx, &self.chunk.loss].map(Buffer::clone);
        let mut head = head_graph(&self.head, &chunk, &targets_buffer, targets.len(), true)?;
        let (_, layers) = self.layers.as_mut().expect("just made");

        let mut executor = Executor::new(device, Tile::unmeasured(n_tokens as u32));
        let mut graphs: Vec<_> = layers.forward.iter_mut().chain(&mut layers.backward).collect();
        graphs.push(&mut head);
        let loaded =
            executor.load(graphs.iter_mut().map(|graph| &mut **graph)).expect("all is computed on a GPU");
        for graph in graphs {
            write_inputs(&executor, &graph.planned()?.buffers);
        }
        let n_forward = self.blocks.len();
        let (forward, backward) = loaded.split_at(n_forward);
        let (head, backward) = backward.split_last().expect("the head is the last of them");
        let compute = |graph: &LoadedGraph| executor.compute(graph).expect("a graph is computed");
        let read = |buffer: &Buffer| executor.read(buffer).expect("a matrix is read");
        let write = |buffer: &Buffer| executor.write(buffer).expect("a matrix is written");

        forward.iter().for_each(compute);
        read(self.residual.input(n_forward));
        self.gather(&positions)?;
        self.chunk.dx.clear()?;
        [&self.chunk.x, &self.chunk.dx].into_iter().for_each(write);
        compute(head);
        [&self.chunk.loss, &self.chunk.dx].into_iter().for_each(read);
        let grad = self.residual.grad.as_ref().expect("the model trains");
        grad.clear()?;
        let mut row = vec![0.0; self.base.spec.n_embd];
        for (i, &t) in positions.iter().enumerate() {
            self.chunk.dx.read(i, &mut row)?;
            grad.write(t, &row)?;
        }
        write(grad);
        backward.iter().rev().for_each(compute);
        adapter.parameters().for_each(|parameter| read(parameter.grad));

        let mut losses = vec![0.0; 2 * positions.len()];
        self.chunk.loss.read(0, &mut losses)?;
        let mut sum = LossSum { supervised: positions.len() as u64, ..LossSum::default() };
        for pair in losses.chunks_exact(2) {
            sum.loss += f64::from(pair[0]);
            sum.correct += u64::from(pair[1] > 0.5);
        }
        let gradients = adapter.parameters().map(|parameter| parameter.grad.to_vec());
        Ok(GpuStep {
            sum,
            gradients: gradients.collect::<std::result::Result<_, Error>>()?,
            n_dispatches: loaded.iter().map(LoadedGraph::n_dispatches).sum(),
        })
    }
}

/// Copies to the device what the host has in memory of its own; integers go over with each computation.
fn write_inputs(executor: &Executor, buffers: &[Buffer]) {
    let is_own = |buffer: &&Buffer| buffer.mapped_bytes().is_none() && buffer.weight_type().is_some();
    for buffer in buffers.iter().filter(is_own) {
        executor.write(buffer).expect("a matrix is written");
    }
}
