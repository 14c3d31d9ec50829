//! llama.cpp's model with an adapter that can be exchanged.

use std::mem::transmute;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llama_cpp_sys_2 as sys;

use crate::Error;

/// A model loaded by llama.cpp, and at most one adapter beside it.
///
/// `llama-cpp-2` frees an adapter only together with its model; this frees it when another one takes its place.
pub struct AdaptedModel {
    model: LlamaModel,
    /// It is freed before `model`, belongs to no other model, and is never handed out.
    adapter: Option<LlamaLoraAdapter>,
}

impl AdaptedModel {
    /// The model alone.
    pub fn new(model: LlamaModel) -> Self {
        Self { model, adapter: None }
    }

    /// The model.
    pub fn model(&self) -> &LlamaModel {
        &self.model
    }

    /// Loads the GGUF adapter at `path` in place of the one before; none for the model alone.
    ///
    /// # Errors
    /// [`Error::Llama`] if llama.cpp refuses it; the one before is gone then too.
    pub fn set_adapter(&mut self, path: Option<&Path>) -> Result<(), Error> {
        self.drop_adapter();
        let adapter = path.map(|path| self.model.lora_adapter_init(path)).transpose();
        self.adapter = adapter.map_err(|error| refused("loading the adapter", error))?;
        Ok(())
    }

    /// A context of the model in which the adapter works.
    ///
    /// # Errors
    /// [`Error::Llama`] if llama.cpp refuses `params`, or memory runs out.
    pub fn context(
        &mut self,
        backend: &LlamaBackend,
        params: LlamaContextParams,
    ) -> Result<LlamaContext<'_>, Error> {
        let context = self.model.new_context(backend, params);
        let mut context = context.map_err(|error| refused("making a context", error))?;
        if let Some(adapter) = &mut self.adapter {
            context.lora_adapter_set(adapter, 1.0).map_err(|error| refused("setting the adapter", error))?;
        }
        Ok(context)
    }

    fn drop_adapter(&mut self) {
        if let Some(adapter) = self.adapter.take() {
            // SAFETY: both layers around the pointer are `repr(transparent)` in the pinned version of `llama-cpp-2`,
            // which has no `Drop` for it and no other way to the pointer.
            let pointer: NonNull<sys::llama_adapter_lora> = unsafe { transmute(adapter) };
            // SAFETY: it came from llama_adapter_lora_init, its model lives, which it removes itself from, and it is
            // freed once: it was taken. No context uses it: each borrows `self`.
            unsafe { sys::llama_adapter_lora_free(pointer.as_ptr()) };
        }
    }
}

impl Drop for AdaptedModel {
    fn drop(&mut self) {
        self.drop_adapter();
    }
}

fn refused(doing: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Llama { doing, problem: error.to_string() }
}
