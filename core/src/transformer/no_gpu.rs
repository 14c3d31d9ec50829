//! The place of a GPU in a build that has none: there are no values of these types.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nightgraft_ggml::{Buffer, Graph, OpTime};

use super::processor::GpuActivity;
use crate::error::GpuError;

/// A GPU that may compute.
#[derive(Debug, Clone)]
pub enum OpenGpu {}

/// An open GPU with a model's matrices.
pub(super) enum GpuProcessor {}

/// A graph that a GPU can compute.
pub(super) enum LoadedGraph {}

type Result<T, E = GpuError> = std::result::Result<T, E>;

impl OpenGpu {
    pub fn name(&self) -> String {
        match *self {}
    }

    pub fn description(&self) -> String {
        match *self {}
    }

    pub fn most_head_rows(&self, _: usize) -> usize {
        match *self {}
    }

    pub fn is_exact(&self) -> bool {
        match *self {}
    }

    pub fn shares_memory(&self) -> bool {
        match *self {}
    }

    pub fn free_memory(&self) {
        match *self {}
    }
}

impl GpuProcessor {
    pub fn new(gpu: &OpenGpu, _: Arc<AtomicBool>) -> Self {
        match *gpu {}
    }

    pub fn load(&mut self, _: Vec<Graph>) -> Result<Vec<LoadedGraph>> {
        match *self {}
    }

    pub fn hold<'a>(&mut self, _: impl IntoIterator<Item = &'a Buffer>) -> Result<()> {
        match *self {}
    }

    pub fn trust_loss(&self, _: f64) -> Result<()> {
        match *self {}
    }

    pub fn compute(&mut self, _: &mut LoadedGraph) -> Result<()> {
        match *self {}
    }

    pub fn count_trained(&mut self) {
        match *self {}
    }

    pub fn n_operations(graph: &LoadedGraph) -> u64 {
        match *graph {}
    }

    pub fn write(&mut self, _: &Buffer, _: usize, _: &[f32]) -> Result<()> {
        match *self {}
    }

    pub fn read(&mut self, _: &Buffer, _: usize, _: &mut [f32]) -> Result<()> {
        match *self {}
    }

    pub fn clear(&mut self, _: &Buffer) -> Result<()> {
        match *self {}
    }

    pub fn copy_rows(&mut self, _: [&Buffer; 2], _: &[[usize; 2]]) -> Result<()> {
        match *self {}
    }

    pub fn upload(&mut self, _: &Buffer) -> Result<()> {
        match *self {}
    }

    pub fn download(&mut self, _: &[&Buffer]) -> Result<()> {
        match *self {}
    }

    pub fn release_arena(&mut self) {
        match *self {}
    }

    pub fn keep_pipelines(&self) {
        match *self {}
    }

    pub fn activity(&self) -> GpuActivity {
        match *self {}
    }

    pub fn set_profiling(&mut self, _: bool) {
        match *self {}
    }

    pub fn shader_times(&self) -> Vec<(&'static str, OpTime)> {
        match *self {}
    }

    pub fn peak_gflops(&self) -> Result<f64> {
        match *self {}
    }
}
