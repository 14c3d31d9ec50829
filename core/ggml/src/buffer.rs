//! Matrices that outlive a computation.

use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::WeightType;

use crate::matrix_size::matrix_bytes;
use crate::raw::{BackendBuffer, Context};
use crate::{Error, MappedFile, TensorLocation, weight_type};

/// A matrix that outlives a computation: written and read by Rust between computations, read and stored
/// into by graphs. Cloning makes another handle to the same matrix.
///
/// Not `Send`: a buffer stays on the thread that also runs the graphs, which is why reading one can never
/// race with a computation.
#[derive(Clone)]
pub struct Buffer {
    storage: Rc<Storage>,
    tensor: NonNull<sys::ggml_tensor>,
}

/// Handles to the same matrix are equal; what it holds is not compared.
impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.tensor == other.tensor
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("shape", &self.shape()).finish_non_exhaustive()
    }
}

/// What tells a [`Buffer`] from others for as long as a handle to it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(NonNull<sys::ggml_tensor>);

struct Storage {
    _context: Context,
    memory: Memory,
    version: Cell<u64>,
}

/// The memory of a buffer's values.
enum Memory {
    Owned(BackendBuffer),
    /// These are dropped in this order: the buffer first, then the mapping under it.
    Mapped(#[expect(dead_code, reason = "owns what the tensor points at")] (BackendBuffer, Arc<MappedFile>)),
    Unallocated,
}

impl Buffer {
    /// A matrix of zeros, `[n_rows, n_cols]`, f32.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or [`Error::Shape`] for an empty or absurdly large matrix.
    pub fn f32(n_rows: usize, n_cols: usize) -> Result<Self, Error> {
        Self::owned(sys::GGML_TYPE_F32, n_rows, n_cols)
    }

    /// A vector of zeros, `[n]`, i32.
    ///
    /// # Errors
    /// They are those of [`Buffer::f32`].
    pub fn i32(n: usize) -> Result<Self, Error> {
        Self::owned(sys::GGML_TYPE_I32, 1, n)
    }

    /// A matrix `[n_rows, n_cols]` of f32 that has no memory, like a tensor on PyTorch's `meta` device: graphs with it can be
    /// built to see what they would take ([`Graph::arena_bytes`](crate::Graph::arena_bytes)), and refuse to be computed.
    ///
    /// # Errors
    /// They are those of [`Buffer::f32`].
    pub fn unallocated(n_rows: usize, n_cols: usize) -> Result<Self, Error> {
        Self::new(sys::GGML_TYPE_F32, n_rows, n_cols, |_| Ok(Memory::Unallocated))
    }

    /// A vector of i32 that has no memory; see [`Buffer::unallocated`].
    ///
    /// # Errors
    /// They are those of [`Buffer::f32`].
    pub fn unallocated_i32(n: usize) -> Result<Self, Error> {
        Self::new(sys::GGML_TYPE_I32, 1, n, |_| Ok(Memory::Unallocated))
    }

    /// Maps weights inside a file, in order, without a copy.
    ///
    /// # Errors
    /// [`Error::Shape`] if a location reaches past the end of the file, [`Error::OutOfMemory`].
    pub fn map_weights(file: &Arc<MappedFile>, locations: &[TensorLocation]) -> Result<Vec<Self>, Error> {
        for location in locations {
            if location.end() > file.len() {
                return Err(Error::Shape {
                    op: "map weights",
                    expected: format!("a matrix inside the file's {} bytes", file.len()),
                    got: format!("{location:?}"),
                });
            }
        }
        let context = Context::new(locations.len(), 0)?;
        // SAFETY: the mapping is kept by the storage that owns the buffer, and nothing writes to weights: `write`
        // refuses, and so does `Graph::expect_writable` for tensors of weights and views of them.
        let buffer = unsafe { BackendBuffer::from_bytes(file)? };
        let tensors: Vec<_> = locations
            .iter()
            .map(|location| {
                let ((n_rows, n_cols), kind) = (location.shape(), location.kind().ggml_id());
                // SAFETY: the context has room for one header per location, and a location has whole blocks.
                let tensor =
                    unsafe { sys::ggml_new_tensor_2d(context.as_ptr(), kind, n_cols as i64, n_rows as i64) };
                // SAFETY: the data lies inside the buffer, as checked above, and aligned as the location is: the buffer's
                // start is aligned for every format. The tensor is new.
                unsafe {
                    (*tensor).data = buffer.base().add(location.offset()).cast();
                    (*tensor).buffer = buffer.as_ptr();
                }
                NonNull::new(tensor).expect("the context has room for every header")
            })
            .collect();
        let memory = Memory::Mapped((buffer, file.clone()));
        let storage = Rc::new(Storage { _context: context, memory, version: Cell::new(0) });
        Ok(tensors.into_iter().map(|tensor| Self { storage: storage.clone(), tensor }).collect())
    }

    /// What tells this matrix from others, the same for all handles to it.
    pub fn id(&self) -> BufferId {
        BufferId(self.tensor)
    }

    /// How often [`write`](Self::write), [`write_i32`](Self::write_i32) and [`clear`](Self::clear) have changed it; what graphs
    /// store is not counted. It tells whoever keeps a copy whether that is still one.
    pub fn version(&self) -> u64 {
        self.storage.version.get()
    }

    /// Whether this is the only handle: nobody else, no graph either, has the matrix.
    pub fn is_last_handle(&self) -> bool {
        Rc::strong_count(&self.storage) == 1
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        // SAFETY: the tensor lives as long as the storage.
        let ne = unsafe { self.tensor.as_ref() }.ne;
        (ne[1] as usize, ne[0] as usize)
    }

    /// Copies `values` into the rows from `first_row` on; f32 buffers only.
    ///
    /// # Errors
    /// [`Error::Shape`] if the values are not whole rows or do not fit, or the buffer is not f32.
    pub fn write(&self, first_row: usize, values: &[f32]) -> Result<(), Error> {
        let start = self.range("write", sys::GGML_TYPE_F32, first_row, values.len())?;
        self.has_changed();
        // SAFETY: `range` checked that this is owned f32 memory of enough length; no computation is
        // running (see the type's documentation), and `values` cannot overlap with memory only we hand out.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.data::<f32>().add(start), values.len())
        };
        Ok(())
    }

    /// Copies `values` to the start of an i32 buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fit or the buffer is not i32.
    pub fn write_i32(&self, values: &[i32]) -> Result<(), Error> {
        let (_, n) = self.shape();
        if self.kind() != sys::GGML_TYPE_I32 || !self.is_allocated() || values.len() > n {
            return Err(self.mismatch("write_i32", format!("{} integers", values.len())));
        }
        self.has_changed();
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.data::<i32>(), values.len()) };
        Ok(())
    }

    /// Copies rows from `first_row` on into `out`; f32 buffers only.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` is not whole rows or asks for more than there are.
    pub fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), Error> {
        let start = self.range("read", sys::GGML_TYPE_F32, first_row, out.len())?;
        // SAFETY: as in `write`, with the directions exchanged.
        unsafe { std::ptr::copy_nonoverlapping(self.data::<f32>().add(start), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies the integers of an i32 buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] if the buffer is not i32 or has no memory.
    pub fn to_vec_i32(&self) -> Result<Vec<i32>, Error> {
        let (_, n) = self.shape();
        if self.kind() != sys::GGML_TYPE_I32 || !self.is_allocated() {
            return Err(self.mismatch("to_vec_i32", format!("{n} integers")));
        }
        let mut out = vec![0; n];
        // SAFETY: as in `write_i32`, with the directions exchanged.
        unsafe { std::ptr::copy_nonoverlapping(self.data::<i32>(), out.as_mut_ptr(), n) };
        Ok(out)
    }

    /// The bytes of a weight in a mapped file, in the format of [`Buffer::weight_type`]; none for a matrix in memory of its own.
    pub fn mapped_bytes(&self) -> Option<&[u8]> {
        let Memory::Mapped(_) = &self.storage.memory else { return None };
        // SAFETY: the tensor lies inside the mapping that the storage keeps (`map_weights`), and nothing writes to it.
        Some(unsafe { std::slice::from_raw_parts(self.data(), sys::ggml_nbytes(self.as_ptr())) })
    }

    /// The format of the values; none for integers.
    pub fn weight_type(&self) -> Option<WeightType> {
        weight_type(self.kind())
    }

    /// The whole matrix; f32 buffers only.
    ///
    /// # Errors
    /// [`Error::Shape`] if the buffer is not f32 or is a mapped weight, [`Error::OutOfMemory`].
    pub fn to_vec(&self) -> Result<Vec<f32>, Error> {
        let (n_rows, n_cols) = self.shape();
        let (n, mut out) = (n_rows * n_cols, Vec::new());
        out.try_reserve_exact(n)
            .map_err(|_| Error::OutOfMemory { what: "copy of a matrix", bytes: 4 * n })?;
        out.resize(n, 0.0);
        self.read(0, &mut out)?;
        Ok(out)
    }

    /// Sets every value to zero; f32 buffers only.
    ///
    /// # Errors
    /// [`Error::Shape`] if the buffer is not f32 or is a mapped weight.
    pub fn clear(&self) -> Result<(), Error> {
        let (n_rows, n_cols) = self.shape();
        self.range("clear", sys::GGML_TYPE_F32, 0, n_rows * n_cols)?;
        self.has_changed();
        // SAFETY: `range` checked that this is owned f32 memory; zero bytes are 0.0.
        unsafe { std::ptr::write_bytes(self.data::<f32>(), 0, n_rows * n_cols) };
        Ok(())
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::ggml_tensor {
        self.tensor.as_ptr()
    }

    pub(crate) fn is_writable(&self) -> bool {
        !matches!(self.storage.memory, Memory::Mapped(_))
    }

    /// Whether the matrix has memory.
    pub(crate) fn is_allocated(&self) -> bool {
        !matches!(self.storage.memory, Memory::Unallocated)
    }

    fn owned(kind: sys::ggml_type, n_rows: usize, n_cols: usize) -> Result<Self, Error> {
        Self::new(kind, n_rows, n_cols, |bytes| Ok(Memory::Owned(BackendBuffer::zeroed("matrix", bytes)?)))
    }

    fn new(
        kind: sys::ggml_type,
        n_rows: usize,
        n_cols: usize,
        memory: impl FnOnce(usize) -> Result<Memory, Error>,
    ) -> Result<Self, Error> {
        let bytes = matrix_bytes("allocate", [n_rows, n_cols])?;
        let context = Context::new(1, 0)?;
        let memory = memory(bytes)?;
        // SAFETY: the context has room for one header.
        let tensor = unsafe { sys::ggml_new_tensor_2d(context.as_ptr(), kind, n_cols as i64, n_rows as i64) };
        if let Memory::Owned(buffer) = &memory {
            // SAFETY: the tensor is new, and the buffer has exactly its size.
            unsafe {
                (*tensor).data = buffer.base().cast();
                (*tensor).buffer = buffer.as_ptr();
            }
        }
        let tensor = NonNull::new(tensor).expect("the context has room for one header");
        let storage = Rc::new(Storage { _context: context, memory, version: Cell::new(0) });
        Ok(Self { storage, tensor })
    }

    fn has_changed(&self) {
        self.storage.version.set(self.storage.version.get() + 1);
    }

    fn kind(&self) -> sys::ggml_type {
        // SAFETY: the tensor lives as long as the storage.
        unsafe { self.tensor.as_ref() }.type_
    }

    fn data<T>(&self) -> *mut T {
        // SAFETY: the tensor lives as long as the storage.
        unsafe { self.tensor.as_ref() }.data.cast()
    }

    /// Where row `first_row` starts, if `n` values from there are whole rows of owned memory.
    fn range(
        &self,
        op: &'static str,
        kind: sys::ggml_type,
        first_row: usize,
        n: usize,
    ) -> Result<usize, Error> {
        let (n_rows, n_cols) = self.shape();
        let fits =
            n.is_multiple_of(n_cols) && first_row.checked_add(n / n_cols).is_some_and(|end| end <= n_rows);
        if self.kind() != kind || !self.is_writable() || !self.is_allocated() || !fits {
            return Err(self.mismatch(op, format!("{n} values from row {first_row}")));
        }
        Ok(first_row * n_cols)
    }

    fn mismatch(&self, op: &'static str, got: String) -> Error {
        let (n_rows, n_cols) = self.shape();
        let what = match self.storage.memory {
            Memory::Owned(_) => "a matrix",
            Memory::Mapped(_) => "a read-only weight",
            Memory::Unallocated => "a matrix without memory",
        };
        Error::Shape { op, expected: format!("rows of {what} [{n_rows}, {n_cols}]"), got }
    }
}
