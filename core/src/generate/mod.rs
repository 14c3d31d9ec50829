//! Generating with llama.cpp itself, with and without an adapter.
//!
//! This is what people will run our adapters with, so it is also the proof that they work there. llama.cpp
//! is only given files that our own readers have accepted; it maps the model, as we do, and what it computes counts
//! only while that is still the file that was opened.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use nightgraft_adapter::AdapterTensors;
use nightgraft_ggml::{AdaptedModel, MappedFile, SharedFile};

use self::anonymous_file::AnonymousFile;
use crate::base::Base;
use crate::export::write_gguf_adapter_into;
use crate::{Error, Result};

mod anonymous_file;

/// A model loaded by llama.cpp, with or without an adapter.
pub struct Generator {
    model: AdaptedModel,
    /// The model's files, open and watched for as long as llama.cpp maps them.
    files: Arc<[SharedFile]>,
    n_threads: i32,
}

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// 0 takes the most likely token always.
    pub temperature: f32,
    /// The seed of the random choices at temperatures above 0.
    pub seed: u32,
}

impl Generator {
    /// Loads a model, and runs it on at most `n_threads` threads, and no more than there are cores.
    ///
    /// # Errors
    /// [`Error::Generate`] if llama.cpp refuses it; [`Error::ModelChanged`] if it is not the file any more that `base` was
    /// opened from.
    pub fn open(base: &Base, n_threads: usize) -> Result<Self> {
        nightgraft_ggml::route_log_to_tracing();
        let mappings = || base.file().parts().iter().map(|part| &part.mapping);
        let files: Arc<[SharedFile]> = mappings().map(SharedFile::new).collect();
        let paths: Vec<PathBuf> = mappings().map(|mapping| path_of(mapping)).collect();
        let model = AdaptedModel::load(backend()?, &paths);
        check(&files)?;
        let model = model?;
        // llama.cpp's threads wait by spinning: more of them than cores would stand in each other's way.
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { model, files, n_threads: n_threads.clamp(1, n_cores) as i32 })
    }

    /// Generates with this adapter from now on, or without one. The model stays loaded.
    ///
    /// The adapter goes to llama.cpp as an anonymous file, in memory where the system has such files: an adapter
    /// holds what its owner wrote, and may come from an encrypted store.
    ///
    /// # Errors
    /// [`Error::Adapter`] if it does not fit `base`, which has to be the model that was loaded; [`Error::Io`];
    /// [`Error::Generate`] if llama.cpp refuses it: then none is in use.
    pub fn set_adapter(&mut self, adapter: Option<&AdapterTensors>, base: &Base) -> Result<()> {
        let Some(adapter) = adapter else { return self.set_adapter_file(None) };
        let file = AnonymousFile::new(|file, name| write_gguf_adapter_into(file, name, adapter, base))?;
        self.set_adapter_file(Some(file.path()))
    }

    /// Generates with the adapter in a GGUF file, which our own reader has to accept, or without one.
    ///
    /// # Errors
    /// [`Error::Generate`] if llama.cpp refuses it: then none is in use.
    pub fn set_adapter_file(&mut self, path: Option<&Path>) -> Result<()> {
        Ok(self.model.set_adapter(path)?)
    }

    /// Continues `prompt`. `on_token` gets each new token and returns whether to go on; generation also ends
    /// at `max_tokens` and at a token for which `is_end` holds, which is not passed on. Returns how many
    /// tokens were generated.
    ///
    /// # Errors
    /// [`Error::Generate`] if the prompt is empty, or llama.cpp fails; [`Error::NotANumber`] if the model or its adapter gives a
    /// token no probability; [`Error::ModelChanged`].
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampling: &Sampling,
        is_end: impl Fn(u32) -> bool,
        mut on_token: impl FnMut(u32) -> bool,
    ) -> Result<usize> {
        let files = self.files.clone();
        let mut context = self.context(prompt.len(), prompt.len().saturating_add(sampling.max_tokens))?;
        let mut sampler = if sampling.temperature > 0.0 {
            LlamaSampler::chain_simple([
                LlamaSampler::temp(sampling.temperature),
                LlamaSampler::dist(sampling.seed),
            ])
        } else {
            LlamaSampler::greedy()
        };
        let mut batch = decode(&mut context, &files, prompt, 0)?;
        for generated in 0..sampling.max_tokens {
            let last = batch.n_tokens() - 1;
            // A sampler would take such logits for some token, and go on.
            if context.get_logits_ith(last).iter().any(|logit| logit.is_nan()) {
                return Err(Error::NotANumber { what: "a logit" });
            }
            let token = sampler.sample(&context, last);
            let id = token.0.cast_unsigned();
            if is_end(id) || !on_token(id) {
                return Ok(generated);
            }
            if generated + 1 < sampling.max_tokens {
                batch = decode(&mut context, &files, &[id], prompt.len() + generated)?;
            }
        }
        Ok(sampling.max_tokens)
    }

    /// A context for a prompt of `n_prompt` tokens and `n_total` in all.
    fn context(&mut self, n_prompt: usize, n_total: usize) -> Result<LlamaContext<'_>> {
        let trained = self.model.model().n_ctx_train() as usize;
        if n_prompt == 0 || n_total > trained {
            let problem = format!(
                "a prompt of {n_prompt} tokens and {n_total} in all: give a prompt, and at most the {trained} \
                 tokens that the model was made for (--max-tokens)"
            );
            return Err(Error::Generate { problem });
        }
        let batch = n_prompt as u32;
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(n_total as u32))
            .with_n_batch(batch)
            .with_n_ubatch(batch.min(512))
            // Nothing goes back in a text here: layers with a window need no more of it than that.
            .with_swa_full(false)
            .with_n_threads(self.n_threads)
            .with_n_threads_batch(self.n_threads);
        Ok(self.model.context(backend()?, params)?)
    }
}

/// Where llama.cpp opens the very file that our reader has accepted, whatever its name stands for by now.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn path_of(file: &MappedFile) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.file().as_raw_fd()))
}

/// Elsewhere a descriptor's path may give the same open file, with its position, rather than open it anew.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn path_of(file: &MappedFile) -> PathBuf {
    file.path().to_owned()
}

/// Whether all are still the files that were opened.
fn check(files: &[SharedFile]) -> Result<()> {
    files.iter().try_for_each(|file| Ok(file.check()?))
}

/// Runs `ids` at positions from `first` on, with logits for the last of them. They count only if `files`, the model's, have not
/// changed.
fn decode<'a>(
    context: &mut LlamaContext<'_>,
    files: &[SharedFile],
    ids: &[u32],
    first: usize,
) -> Result<LlamaBatch<'a>> {
    let mut batch = LlamaBatch::new(ids.len(), 1);
    for (i, &id) in ids.iter().enumerate() {
        let logits = i + 1 == ids.len();
        let position = (first + i) as i32;
        batch
            .add(LlamaToken(id.cast_signed()), position, &[0], logits)
            .map_err(|error| refused("filling a batch", error))?;
    }
    let decoded = context.decode(&mut batch);
    check(files)?;
    decoded.map_err(|error| refused("decoding", error))?;
    Ok(batch)
}

/// llama.cpp's process-wide state, made once and never freed.
fn backend() -> Result<&'static LlamaBackend> {
    static BACKEND: OnceLock<Option<LlamaBackend>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| LlamaBackend::init().ok());
    backend.as_ref().ok_or_else(|| refused("starting", "another part of the process started llama.cpp"))
}

fn refused(doing: &str, error: impl std::fmt::Display) -> Error {
    Error::Generate { problem: format!("{doing}: {error}") }
}
