//! Owners of C objects: each frees its object once.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;
use memmap2::MmapMut;

use crate::Error;

/// A ggml context that holds tensor headers only, never data.
pub(crate) struct Context {
    context: NonNull<sys::ggml_context>,
    /// The memory of the headers; it is given back after the context.
    _pool: Vec<MaybeUninit<Line>>,
}

/// What a context's memory consists of: ggml wants it aligned to 16 bytes, or less.
type Line = u128;
const _: () = assert!(align_of::<Line>() == 16 || size_of::<usize>() < 8);

impl Context {
    /// Room for `n_tensors` headers and, if `n_nodes > 0`, one graph of so many nodes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]. The memory is ours, because ggml ends the process where it gets none.
    pub(crate) fn new(n_tensors: usize, n_nodes: usize) -> Result<Self, Error> {
        // SAFETY: both functions only compute sizes.
        let (header, graph) = unsafe {
            let graph = if n_nodes > 0 { sys::ggml_graph_overhead_custom(n_nodes, false) } else { 0 };
            (sys::ggml_tensor_overhead(), graph)
        };
        let bytes = n_tensors.checked_mul(header).and_then(|headers| headers.checked_add(graph));
        let fail = || Error::OutOfMemory { what: "graph", bytes: bytes.unwrap_or(usize::MAX) };
        // ggml takes a pool of no bytes for one that it is to make.
        let lines = bytes.ok_or_else(fail)?.div_ceil(size_of::<Line>()).max(1);
        let mut pool: Vec<MaybeUninit<Line>> = Vec::new();
        pool.try_reserve_exact(lines).map_err(|_| fail())?;
        let params = sys::ggml_init_params {
            mem_size: lines * size_of::<Line>(),
            mem_buffer: pool.as_mut_ptr().cast(),
            no_alloc: true,
        };
        // SAFETY: the pool has so many bytes, is aligned as ggml wants it, and neither moves nor is used otherwise before the
        // context is freed.
        let context = unsafe { sys::ggml_init(params) };
        Ok(Self { context: NonNull::new(context).ok_or_else(fail)?, _pool: pool })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::ggml_context {
        self.context.as_ptr()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by ggml_init, freed only here.
        unsafe { sys::ggml_free(self.as_ptr()) }
    }
}

/// Memory that tensors live in: ggml's `ggml_backend_buffer`.
pub(crate) struct BackendBuffer {
    buffer: NonNull<sys::ggml_backend_buffer>,
    /// The memory under the buffer; it is given back after the buffer.
    _pages: Option<MmapMut>,
}

impl BackendBuffer {
    /// Fresh zeroed memory of the CPU.
    ///
    /// Large buffers are pages of their own: the system gets them back as soon as they are dropped, whatever the allocator
    /// keeps, and so the memory of a process is what a plan said.
    pub(crate) fn zeroed(what: &'static str, bytes: usize) -> Result<Self, Error> {
        const LARGE: usize = 64 << 10;
        if bytes >= LARGE {
            let mut pages = MmapMut::map_anon(bytes).map_err(|_| Error::OutOfMemory { what, bytes })?;
            // Where the system has larger pages, there are fewer to look up; where it has none, this is no failure.
            #[cfg(target_os = "linux")]
            let _ = pages.advise(memmap2::Advice::HugePage);
            // SAFETY: pages are aligned; they outlive the buffer and are used through it only.
            let buffer = unsafe { sys::ggml_backend_cpu_buffer_from_ptr(pages.as_mut_ptr().cast(), bytes) };
            let buffer = NonNull::new(buffer).ok_or(Error::OutOfMemory { what, bytes })?;
            return Ok(Self { buffer, _pages: Some(pages) });
        }
        // SAFETY: the CPU's buffer type always exists; a failed allocation returns null.
        let buffer =
            unsafe { sys::ggml_backend_buft_alloc_buffer(sys::ggml_backend_cpu_buffer_type(), bytes) };
        let buffer = NonNull::new(buffer).ok_or(Error::OutOfMemory { what, bytes })?;
        let buffer = Self { buffer, _pages: None };
        // SAFETY: the buffer was just made and nothing uses it yet.
        unsafe { sys::ggml_backend_buffer_clear(buffer.as_ptr(), 0) };
        Ok(buffer)
    }

    /// A view of memory that someone else owns and keeps for longer than this value.
    ///
    /// # Safety
    /// `bytes` must outlive the buffer; tensors in it must only be read.
    pub(crate) unsafe fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // ggml insists on this alignment of the start and aborts otherwise.
        const ALIGNMENT: usize = 32;
        if !(bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(Error::Shape {
                op: "map",
                expected: format!("memory aligned to {ALIGNMENT} bytes"),
                got: "a less aligned mapping".to_owned(),
            });
        }
        // SAFETY: the start is aligned as required; lifetime and read-only use are the caller's promise.
        let buffer =
            unsafe { sys::ggml_backend_cpu_buffer_from_ptr(bytes.as_ptr().cast_mut().cast(), bytes.len()) };
        let buffer = NonNull::new(buffer).ok_or(Error::OutOfMemory { what: "mapped buffer", bytes: 0 })?;
        Ok(Self { buffer, _pages: None })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::ggml_backend_buffer {
        self.buffer.as_ptr()
    }

    pub(crate) fn base(&self) -> *mut u8 {
        // SAFETY: the buffer is alive.
        unsafe { sys::ggml_backend_buffer_get_base(self.as_ptr()).cast() }
    }
}

impl Drop for BackendBuffer {
    fn drop(&mut self) {
        // SAFETY: made by ggml, freed only here.
        unsafe { sys::ggml_backend_buffer_free(self.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_memory_for_a_context_is_an_error() {
        for n_tensors in [1 << 45, usize::MAX / 300, usize::MAX] {
            let refused = Context::new(n_tensors, 0).err();
            assert!(matches!(refused, Some(Error::OutOfMemory { what: "graph", .. })), "{n_tensors}");
        }
        assert!(Context::new(0, 0).is_ok());
    }

    #[test]
    fn no_memory_for_a_buffer_is_an_error() {
        for bytes in [1 << 60, usize::MAX / 2, usize::MAX] {
            let refused = BackendBuffer::zeroed("test", bytes).err();
            assert!(matches!(refused, Some(Error::OutOfMemory { what: "test", .. })), "{bytes}");
        }
    }
}
