//! One dispatch: operands found in at most four windows of buffers, and the numbers of a shader's `Parameters`.

use crate::{Binding, Buffer, BufferRows, Constant, Device, Dispatch, Error, Pipeline, Program};

/// The windows that `memory.wgsl` declares: what every device has ([`Limits::LEAST`](crate::Limits::LEAST)).
const WINDOWS: usize = 4;

const MEMORY: &str = include_str!("memory.wgsl");

/// Invocations of a workgroup of all operations here.
pub(super) const LANES: u32 = 64;

/// A run of a shader that is being put together. Operands and numbers are given in the order of its `Parameters`.
pub(super) struct Call<'a> {
    name: &'static str,
    sources: Vec<&'static str>,
    constants: Vec<(&'static str, Constant)>,
    operands: Vec<Operand<'a>>,
    numbers: Vec<u32>,
}

/// A matrix, and the constant that says which window it is in.
struct Operand<'a> {
    window: &'static str,
    rows: BufferRows<'a>,
    /// 0 for a row that stands for all rows.
    stride: u32,
}

/// A part of a buffer that has some of the operands, as bytes.
struct Window<'a> {
    buffer: &'a Buffer,
    start: u64,
    end: u64,
}

/// How many multiply-adds of a product take as long as one of those shaders that have no tiles: they read both factors of each from
/// memory, where a tile has used them many times meanwhile.
pub(super) const WITHOUT_TILES: u64 = 8;

/// How much a line of workgroups computes, and how much a dispatch may, in multiply-adds of products.
#[derive(Clone, Copy)]
pub(crate) struct LineWork {
    pub of_line: u64,
    pub most: u64,
}

impl<'a> Call<'a> {
    /// A run of these files, the last of which has the entry point.
    pub fn new(name: &'static str, sources: &[&'static str]) -> Self {
        let sources = [MEMORY].into_iter().chain(sources.iter().copied()).collect();
        Self { name, sources, constants: Vec::new(), operands: Vec::new(), numbers: Vec::new() }
    }

    /// An operand; the constant `window` says where it is.
    pub fn matrix(self, window: &'static str, rows: BufferRows<'a>) -> Self {
        let stride = rows.stride();
        self.with_stride(window, rows, stride)
    }

    /// A row that stands for all rows of a matrix.
    pub fn row(self, window: &'static str, row: BufferRows<'a>) -> Self {
        self.with_stride(window, row, 0)
    }

    fn with_stride(mut self, window: &'static str, rows: BufferRows<'a>, stride: u32) -> Self {
        self.operands.push(Operand { window, rows, stride });
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
    /// [`Error::OverLimit`] if the operands do not lie in four windows of the size of a binding, or there are more workgroups than
    /// the device takes; those of [`Device::pipeline`] and [`Device::dispatch`].
    pub fn dispatch(self, device: &Device, [x, y]: [u32; 2]) -> Result<Dispatch, Error> {
        let (pipeline, bindings, parameters) = self.prepare(device)?;
        device.dispatch(&pipeline, &bindings, &parameters, [x, y, 1])
    }

    /// `n_lines` lines of workgroups of this width, in dispatches of as many lines as `work` allows. The last number of the shader's
    /// `Parameters` is the first line.
    ///
    /// # Errors
    /// They are those of [`Call::dispatch`].
    pub fn lines(
        self,
        device: &Device,
        [width, n_lines]: [u32; 2],
        work: LineWork,
    ) -> Result<Vec<Dispatch>, Error> {
        let (pipeline, bindings, mut parameters) = self.prepare(device)?;
        let of_line = work.of_line.max(1);
        let longest = n_lines.clamp(1, device.limits().workgroups);
        let at_once = u32::try_from(work.most / of_line).unwrap_or(u32::MAX).clamp(1, longest);
        parameters.push(0);
        let place = parameters.len() - 1;
        let mut dispatches = Vec::new();
        for first in (0..n_lines).step_by(at_once as usize) {
            parameters[place] = first;
            let lines = at_once.min(n_lines - first);
            let dispatch = device.dispatch(&pipeline, &bindings, &parameters, [width, lines, 1])?;
            dispatches.push(dispatch.with_multiply_adds(u64::from(lines) * of_line));
        }
        Ok(dispatches)
    }

    fn prepare(self, device: &Device) -> Result<(Pipeline, Vec<Binding<'a>>, Vec<u32>), Error> {
        let Self { name, sources, mut constants, operands, numbers } = self;
        let windows = windows(&operands, device.limits().binding_bytes);
        if windows.len() > WINDOWS {
            let (limit, got) = (WINDOWS as u64, windows.len() as u64);
            return Err(Error::OverLimit { what: name, unit: "windows of buffers", limit, got });
        }
        let mut bindings = Vec::new();
        let mut before = Vec::new();
        for window in &windows {
            let (start, bytes) = (window.start, window.end - window.start);
            let (binding, skipped) = Binding::of_bytes(device, window.buffer, start, bytes)?;
            before.push(start / 4 - u64::from(skipped / 4));
            bindings.push(binding);
        }
        let mut parameters = Vec::new();
        for Operand { window, rows, stride } in &operands {
            let index = windows.iter().position(|window| window.has(rows)).unwrap_or_default();
            constants.push((window, Constant::Number(index as u32)));
            // A binding has fewer than 2^32 floats.
            let first = (rows.first() - before[index]) as u32;
            parameters.extend([first, *stride, rows.n_rows(), rows.n_cols()]);
        }
        parameters.extend(numbers);
        // What is not used is bound all the same, because the text declares it.
        while let (Some(first), true) = (bindings.first().copied(), bindings.len() < WINDOWS) {
            bindings.push(first);
        }
        let pipeline = device.pipeline(&Program::new(name, sources, constants))?;
        Ok((pipeline, bindings, parameters))
    }
}

impl Window<'_> {
    fn has(&self, rows: &BufferRows) -> bool {
        let (start, end) = rows.bytes();
        self.buffer.inner == rows.buffer().inner && self.start <= start && end <= self.end
    }
}

/// What is bound for these operands: a whole buffer where that is no more than a binding, else as few parts as have them all.
fn windows<'a>(operands: &[Operand<'a>], binding_bytes: u64) -> Vec<Window<'a>> {
    let mut windows: Vec<Window> = Vec::new();
    let mut rows: Vec<BufferRows> = operands.iter().map(|operand| operand.rows).collect();
    rows.sort_by_key(|rows| rows.bytes().0);
    for rows in rows {
        let buffer = rows.buffer();
        let (start, end) = rows.bytes();
        if windows.iter().any(|window| window.has(&rows)) {
            continue;
        }
        let is_small = buffer.bytes() <= binding_bytes;
        // The bytes in front of a window, up to where a binding may begin, count as well.
        let room = binding_bytes.saturating_sub(256);
        let last = windows.iter_mut().rfind(|window| window.buffer.inner == buffer.inner);
        match last.filter(|last| end - last.start <= room) {
            Some(last) => last.end = last.end.max(end),
            None if is_small => windows.push(Window { buffer, start: 0, end: buffer.bytes() }),
            None => windows.push(Window { buffer, start, end }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Limits;
    use crate::testing::software_within;

    #[test]
    fn operands_of_a_large_buffer_are_in_few_windows() {
        const BINDING: u64 = 1 << 20;
        let device = software_within(Limits { binding_bytes: BINDING, ..Limits::LEAST });
        let large = device.zeros("large", 1 << 20).unwrap();
        let small = device.zeros("small", 1 << 10).unwrap();
        let rows = |buffer, first| Operand {
            window: "X",
            rows: BufferRows::new(buffer, first, [8, 16], 16).unwrap(),
            stride: 16,
        };
        let operands = [rows(&large, 900_000), rows(&small, 64), rows(&large, 16), rows(&large, 1000)];
        let found = windows(&operands, BINDING);
        let places: Vec<_> = found.iter().map(|window| (window.start, window.end)).collect();
        assert_eq!(places, [(64, 4000 + 4 * 128), (0, 4096), (3_600_000, 3_600_000 + 4 * 128)]);
        assert!(operands.iter().all(|operand| found.iter().any(|window| window.has(&operand.rows))));
    }
}
