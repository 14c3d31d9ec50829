//! llama.cpp's model with an adapter that can be exchanged.

use std::ffi::{CString, c_char};
use std::mem::transmute;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::params::LlamaModelParams;
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
    /// Loads a model, without an adapter, from its file, or from those of a split model in their order.
    ///
    /// # Errors
    /// [`Error::Llama`] if llama.cpp refuses it.
    pub fn load(backend: &LlamaBackend, paths: &[PathBuf]) -> Result<Self, Error> {
        const DOING: &str = "loading the model";
        let model = match paths {
            [path] => LlamaModel::load_from_file(backend, path, &LlamaModelParams::default())
                .map_err(|error| refused(DOING, error))?,
            parts => load_parts(parts).map_err(|problem| refused(DOING, problem))?,
        };
        Ok(Self { model, adapter: None })
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

/// A model in several files. llama.cpp is up: whoever calls this has the backend.
fn load_parts(paths: &[PathBuf]) -> Result<LlamaModel, &'static str> {
    let texts = paths.iter().map(|path| CString::new(path.to_str()?).ok()).collect::<Option<Vec<_>>>();
    let texts = texts.ok_or("a path that is not UTF-8, or has a zero in it")?;
    let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
    // SAFETY: so many pointers to texts that end with a zero and live through the call; the parameters are llama.cpp's own.
    let model = unsafe {
        sys::llama_model_load_from_splits(
            pointers.as_mut_ptr(),
            pointers.len(),
            sys::llama_model_default_params(),
        )
    };
    let model = NonNull::new(model).ok_or("null reference from llama.cpp")?;
    // SAFETY: both layers around the pointer are `repr(transparent)` in the pinned version of `llama-cpp-2`. The model is a new
    // one, loaded as `LlamaModel` loads it, which frees it once.
    Ok(unsafe { transmute::<NonNull<sys::llama_model>, LlamaModel>(model) })
}

fn refused(doing: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Llama { doing, problem: error.to_string() }
}
