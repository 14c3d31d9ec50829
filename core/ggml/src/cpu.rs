//! Running graphs on the CPU.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use llama_cpp_sys_2 as sys;

use crate::raw::Buffer;
use crate::{Error, Graph};

/// ggml's own limit (`GGML_MAX_N_THREADS`); it aborts above.
const MAX_THREADS: usize = 512;

/// ggml's CPU backend with its own pool of threads, and one arena for the intermediate results of all graphs.
pub struct Cpu {
    backend: NonNull<sys::ggml_backend>,
    threads: NonNull<sys::ggml_threadpool>,
    n_threads: usize,
    stop: Arc<AtomicBool>,
    arena: Option<(Buffer, usize)>,
    arena_id: u64,
}

impl Cpu {
    /// Starts `n_threads` threads. Raising `stop` makes a running computation end between two operations.
    ///
    /// # Errors
    /// [`Error::Shape`] for an impossible number of threads, [`Error::Backend`] if ggml cannot start.
    pub fn new(n_threads: usize, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        if n_threads == 0 || n_threads > MAX_THREADS {
            return Err(Error::Shape {
                op: "threads",
                expected: format!("1 to {MAX_THREADS}"),
                got: n_threads.to_string(),
            });
        }
        let failed = |op| Error::Backend { op, status: sys::GGML_STATUS_FAILED };
        // SAFETY: plain constructors; the pool is attached to the backend and freed after it, and the stop
        // flag that the callback reads is kept by this value.
        unsafe {
            let backend = NonNull::new(sys::ggml_backend_cpu_init()).ok_or(failed("cpu_init"))?;
            let mut params = sys::ggml_threadpool_params_default(n_threads as i32);
            let Some(threads) = NonNull::new(sys::ggml_threadpool_new(&mut params)) else {
                sys::ggml_backend_free(backend.as_ptr());
                return Err(failed("threadpool_new"));
            };
            sys::ggml_backend_cpu_set_n_threads(backend.as_ptr(), n_threads as i32);
            sys::ggml_backend_cpu_set_threadpool(backend.as_ptr(), threads.as_ptr());
            sys::ggml_backend_cpu_set_abort_callback(
                backend.as_ptr(),
                Some(is_raised),
                Arc::as_ptr(&stop).cast_mut().cast(),
            );
            Ok(Self { backend, threads, n_threads, stop, arena: None, arena_id: 0 })
        }
    }

    /// The number of threads.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// The flag that ends a running computation.
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Makes the arena large enough for `graph`, so that computing it allocates nothing.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn reserve(&mut self, graph: &mut Graph) -> Result<(), Error> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let bytes = graph.planned().bytes.max(1);
        if self.arena.as_ref().is_none_or(|(_, size)| *size < bytes) {
            self.arena = None; // freed before the larger one is made
            self.arena = Some((Buffer::cpu("arena", bytes)?, bytes));
            self.arena_id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Runs every operation of the graph and returns when all are done.
    ///
    /// # Errors
    /// [`Error::Aborted`] if the stop flag was raised: what the graph stores into is then undefined.
    /// [`Error::OutOfMemory`] if the arena cannot grow.
    pub fn compute(&mut self, graph: &mut Graph) -> Result<(), Error> {
        self.reserve(graph)?;
        let (arena, _) = self.arena.as_ref().expect("reserved above");
        // SAFETY: the plan belongs to this living graph, and the arena has the size that it asks for.
        unsafe { graph.planned().bind(arena, self.arena_id) };
        // SAFETY: every tensor of the graph now has its memory: leaves their own, the rest in the arena.
        let status = unsafe { sys::ggml_backend_graph_compute(self.backend.as_ptr(), graph.as_ptr()) };
        match status {
            sys::GGML_STATUS_SUCCESS => Ok(()),
            sys::GGML_STATUS_ABORTED => Err(Error::Aborted),
            status => Err(Error::Backend { op: "graph_compute", status }),
        }
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        // SAFETY: each was made in `new` and is freed only here, the pool after the backend that uses it.
        unsafe {
            sys::ggml_backend_free(self.backend.as_ptr());
            sys::ggml_threadpool_free(self.threads.as_ptr());
        }
    }
}

unsafe extern "C" fn is_raised(flag: *mut c_void) -> bool {
    // SAFETY: the pointer comes from the `Arc` that the `Cpu` keeps for as long as its backend.
    unsafe { &*flag.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}
