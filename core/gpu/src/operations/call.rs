//! One dispatch: operands found in at most four buffers, and the numbers of a shader's `Parameters`.

use crate::{Binding, Buffer, BufferRows, Constant, Device, Dispatch, Error, Program};

/// The buffers that `memory.wgsl` declares: what every device has ([`Limits::LEAST`](crate::Limits::LEAST)).
const BUFFERS: usize = 4;

const MEMORY: &str = include_str!("memory.wgsl");

/// Invocations of a workgroup of all operations here.
pub(super) const LANES: u32 = 64;

/// A run of a shader that is being put together. Operands and numbers are given in the order of its `Parameters`.
pub(super) struct Call<'a> {
    name: &'static str,
    sources: Vec<&'static str>,
    constants: Vec<(&'static str, Constant)>,
    buffers: Vec<&'a Buffer>,
    matrices: Vec<(BufferRows<'a>, u32)>,
    numbers: Vec<u32>,
}

impl<'a> Call<'a> {
    /// A run of these files, the last of which has the entry point.
    pub fn new(name: &'static str, sources: &[&'static str]) -> Self {
        let sources = [MEMORY].into_iter().chain(sources.iter().copied()).collect();
        Self {
            name,
            sources,
            constants: Vec::new(),
            buffers: Vec::new(),
            matrices: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// An operand; the constant `buffer` says which buffer it is in.
    pub fn matrix(self, buffer: &'static str, rows: BufferRows<'a>) -> Self {
        let stride = rows.stride();
        self.with_stride(buffer, rows, stride)
    }

    /// A row that stands for all rows of a matrix.
    pub fn row(self, buffer: &'static str, row: BufferRows<'a>) -> Self {
        self.with_stride(buffer, row, 0)
    }

    fn with_stride(mut self, buffer: &'static str, rows: BufferRows<'a>, stride: u32) -> Self {
        let known = self.buffers.iter().position(|known| known.inner == rows.buffer().inner);
        let index = known.unwrap_or_else(|| {
            self.buffers.push(rows.buffer());
            self.buffers.len() - 1
        });
        self.constants.push((buffer, Constant::Number(index as u32)));
        self.matrices.push((rows, stride));
        self
    }

    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.constants.push((name, Constant::Number(value)));
        self
    }

    pub fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.constants.push((name, Constant::Flag(value)));
        self
    }

    pub fn number(mut self, value: u32) -> Self {
        self.numbers.push(value);
        self
    }

    pub fn float(self, value: f32) -> Self {
        self.number(value.to_bits())
    }

    /// One invocation for each column of each row.
    ///
    /// # Errors
    /// They are those of [`Call::dispatch`].
    pub fn for_each_value(self, device: &Device, [n_rows, n_cols]: [u32; 2]) -> Result<Dispatch, Error> {
        self.dispatch(device, [n_cols.div_ceil(LANES), n_rows])
    }

    /// So many workgroups.
    ///
    /// # Errors
    /// [`Error::OverLimit`] if the operands are in more than four buffers, a buffer is more than a binding, or there are more
    /// workgroups than the device takes; those of [`Device::pipeline`] and [`Device::dispatch`].
    pub fn dispatch(self, device: &Device, [x, y]: [u32; 2]) -> Result<Dispatch, Error> {
        let Self { name, sources, constants, mut buffers, matrices, numbers } = self;
        let over = |unit, limit: u64, got: u64| Error::OverLimit { what: name, unit, limit, got };
        if buffers.len() > BUFFERS {
            return Err(over("buffers", BUFFERS as u64, buffers.len() as u64));
        }
        // What is not used is bound all the same, because the text declares it.
        while let (Some(first), true) = (buffers.first().copied(), buffers.len() < BUFFERS) {
            buffers.push(first);
        }
        let mut parameters = Vec::new();
        for (rows, stride) in matrices {
            let last = u64::from(u32::MAX);
            let first = u32::try_from(rows.first()).map_err(|_| over("floats", last, rows.first()))?;
            parameters.extend([first, stride, rows.n_rows(), rows.n_cols()]);
        }
        parameters.extend(numbers);
        let pipeline = device.pipeline(&Program::new(name, sources, constants))?;
        let bindings =
            buffers.iter().map(|buffer| Binding::whole(device, buffer)).collect::<Result<Vec<_>, _>>()?;
        device.dispatch(&pipeline, &bindings, &parameters, [x, y, 1])
    }
}
