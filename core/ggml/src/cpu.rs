//! Running graphs on the CPU.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use llama_cpp_sys_2 as sys;

use nightgraft_kernels::Tier;

use crate::pool::Pool;
use crate::raw::BackendBuffer;
use crate::refusal::FirstRefusal;
use crate::{Error, Graph};

/// More threads than any machine that this is for has cores.
const MAX_THREADS: usize = 512;

/// ggml's CPU backend, a pool of threads, and one arena for the intermediate results of all graphs.
///
/// ggml itself runs the graph on the calling thread; the custom nodes, where nearly all of the time goes, divide their work
/// over the pool. ggml's own pool would do both, but its threads wait for each other by spinning after every node: on a
/// machine with other work to do, one that was put aside holds up all others for a time slice, a hundred times a layer.
/// This pool's idle threads soon sleep, and take over the work of one that is late.
pub struct Cpu {
    backend: NonNull<sys::ggml_backend>,
    pool: Pool,
    stop: Arc<AtomicBool>,
    arena: Option<(BackendBuffer, usize)>,
    arena_id: u64,
}

impl Cpu {
    /// Starts `n_threads` threads. Raising `stop` makes a running computation end between two operations.
    ///
    /// # Errors
    /// [`Error::Shape`] for an impossible number of threads, [`Error::Backend`] if ggml cannot start,
    /// [`Error::Threads`] if the system refuses the threads, [`Error::Instructions`] if the environment asks for instructions
    /// that this machine lacks.
    pub fn new(n_threads: usize, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        if n_threads == 0 || n_threads > MAX_THREADS {
            return Err(Error::Shape {
                op: "threads",
                expected: format!("1 to {MAX_THREADS}"),
                got: n_threads.to_string(),
            });
        }
        Tier::requested()?;
        let pool = Pool::new(n_threads)?;
        // SAFETY: plain constructors; the backend is freed once.
        unsafe {
            let backend = NonNull::new(sys::ggml_backend_cpu_init())
                .ok_or(Error::Backend { op: "cpu_init", status: sys::GGML_STATUS_FAILED })?;
            sys::ggml_backend_cpu_set_n_threads(backend.as_ptr(), 1);
            Ok(Self { backend, pool, stop, arena: None, arena_id: 0 })
        }
    }

    /// The number of threads.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// The flag that ends a running computation.
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    pub(crate) fn backend(&mut self) -> *mut sys::ggml_backend {
        self.backend.as_ptr()
    }

    /// Makes the arena large enough for `graph`, so that computing it allocates nothing.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn reserve(&mut self, graph: &mut Graph) -> Result<(), Error> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let bytes = graph.arena_plan().bytes.max(1);
        if self.arena.as_ref().is_none_or(|(_, size)| *size < bytes) {
            self.arena = None; // freed before the larger one is made
            self.arena = Some((BackendBuffer::zeroed("arena", bytes)?, bytes));
            self.arena_id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives the arena's memory back; the next computation makes a new one.
    pub fn release_arena(&mut self) {
        self.arena = None;
    }

    /// Runs every operation of the graph and returns when all are done.
    ///
    /// # Errors
    /// [`Error::Aborted`] if the stop flag was raised: what the graph stores into is then undefined. [`Error::Refused`] if a
    /// kernel refused its operands, such as an index that points nowhere: nothing is computed or stored from there on.
    /// [`Error::OutOfMemory`] if the arena or a thread's working memory cannot grow, [`Error::Shape`] if a buffer has no memory.
    pub fn compute(&mut self, graph: &mut Graph) -> Result<(), Error> {
        if !graph.is_allocated() {
            return Err(Error::Shape {
                op: "compute",
                expected: "buffers with memory".into(),
                got: "one without".into(),
            });
        }
        self.reserve(graph)?;
        let (arena, _) = self.arena.as_ref().expect("reserved above");
        // SAFETY: the plan belongs to this living graph, and the arena has the size that it asks for.
        unsafe { graph.arena_plan().bind(arena, self.arena_id) };
        let (backend, nodes) = (self.backend.as_ptr(), graph.as_ptr());
        let condition = AbortCondition { stop: &self.stop, refused: graph.refused() };
        // SAFETY: both are alive, and every tensor of the graph now has its memory: buffers their own, the rest in the arena.
        // The callback gets what lives until it is taken back.
        let status = self.pool.install(|| unsafe {
            let condition = std::ptr::from_ref(&condition).cast_mut().cast();
            sys::ggml_backend_cpu_set_abort_callback(backend, Some(should_abort), condition);
            let status = sys::ggml_backend_graph_compute(backend, nodes);
            sys::ggml_backend_cpu_set_abort_callback(backend, None, std::ptr::null_mut());
            status
        });
        graph.refused().take().map_or(Ok(()), |refusal| Err(Error::refused(refusal)))?;
        match status {
            sys::GGML_STATUS_SUCCESS => Ok(()),
            sys::GGML_STATUS_ABORTED => Err(Error::Aborted),
            status => Err(Error::Backend { op: "graph_compute", status }),
        }
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        // SAFETY: made in `new`, freed only here.
        unsafe { sys::ggml_backend_free(self.backend.as_ptr()) }
    }
}

/// What can end a computation before its last node.
struct AbortCondition<'a> {
    stop: &'a AtomicBool,
    refused: &'a FirstRefusal,
}

/// Whether ggml is to end the computation: an [`AbortCondition`] behind a pointer.
unsafe extern "C" fn should_abort(condition: *mut c_void) -> bool {
    // SAFETY: the pointer comes from `compute`, which keeps what it points at until the callback is taken back.
    let condition = unsafe { &*condition.cast::<AbortCondition>() };
    condition.stop.load(Ordering::Relaxed) || condition.refused.is_set()
}
