//! Memory of a device, and places in it.

use std::sync::atomic::Ordering;

use crate::device::{DeviceId, PATIENCE, lock};
use crate::tally::TALLY_BYTES;
use crate::{Device, Error, SimulatedFault};

/// Bytes of a device's memory. Copies of this handle are the same memory, which is freed with the last of them.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(crate) inner: wgpu::Buffer,
    pub(crate) device: DeviceId,
    bytes: u64,
}

impl Buffer {
    /// Its size in bytes, a multiple of 4.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A row-major `f32` matrix `[n_rows, n_cols]` in a buffer, whose rows start `stride` floats apart.
#[derive(Clone, Copy, Debug)]
pub struct BufferRows<'a> {
    buffer: &'a Buffer,
    first: u64,
    n_rows: u32,
    n_cols: u32,
    stride: u32,
}

impl<'a> BufferRows<'a> {
    /// The matrix whose first value is float `first` of the buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] if `stride < n_cols`; [`Error::OutOfRange`] if the last row ends behind the buffer.
    pub fn new(
        buffer: &'a Buffer,
        first: u64,
        [n_rows, n_cols]: [u32; 2],
        stride: u32,
    ) -> Result<Self, Error> {
        if stride < n_cols {
            let (expected, got) = (n_cols.into(), stride.into());
            return Err(Error::Shape { op: "rows of a buffer", what: "the stride", expected, got });
        }
        let rows = Self { buffer, first, n_rows, n_cols, stride };
        let end = first.checked_add(rows.floats()).and_then(|end| end.checked_mul(4));
        match end {
            Some(end) if end <= buffer.bytes => Ok(rows),
            end => {
                let end = end.unwrap_or(u64::MAX);
                Err(Error::OutOfRange { what: "a matrix", end, bytes: buffer.bytes })
            }
        }
    }

    /// The matrix that fills the buffer from its first float on, without gaps.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the buffer is too small.
    pub fn whole(buffer: &'a Buffer, [n_rows, n_cols]: [u32; 2]) -> Result<Self, Error> {
        Self::new(buffer, 0, [n_rows, n_cols], n_cols)
    }

    /// Number of rows.
    pub fn n_rows(&self) -> u32 {
        self.n_rows
    }

    /// Number of columns.
    pub fn n_cols(&self) -> u32 {
        self.n_cols
    }

    /// Distance between the starts of two rows, in floats.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    pub(crate) fn buffer(&self) -> &'a Buffer {
        self.buffer
    }

    /// The place of the first value, in floats.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The first byte, and the one behind the last.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (4 * self.first, 4 * (self.first + self.floats()))
    }

    /// The floats from the first value to the last one, those between rows included.
    fn floats(&self) -> u64 {
        match self.n_rows {
            0 => 0,
            n => u64::from(n - 1) * u64::from(self.stride) + u64::from(self.n_cols),
        }
    }

    /// What a shader is given of the buffer, and the place of the first value in that, in floats.
    ///
    /// # Errors
    /// [`Error::OverLimit`] if it is more than one binding of this device.
    pub fn bind(&self, device: &Device) -> Result<(Binding<'a>, u32), Error> {
        Binding::of_bytes(device, self.buffer, 4 * self.first, 4 * self.floats())
            .map(|(binding, skipped)| (binding, skipped / 4))
    }
}

/// A piece of a buffer, as a shader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    pub(crate) buffer: &'a Buffer,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl<'a> Binding<'a> {
    /// A binding that has these bytes, which are aligned to 4, and the place of the first of them in it: bindings begin at
    /// multiples of [`Limits::binding_alignment`](crate::Limits::binding_alignment).
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::OverLimit`] if it is more than one binding of this device.
    pub fn of_bytes(
        device: &Device,
        buffer: &'a Buffer,
        start: u64,
        bytes: u64,
    ) -> Result<(Self, u32), Error> {
        let what = "a binding";
        let end = start.checked_add(bytes).filter(|end| *end <= buffer.bytes && start.is_multiple_of(4));
        let Some(end) = end else {
            let end = start.saturating_add(bytes);
            return Err(Error::OutOfRange { what, end, bytes: buffer.bytes });
        };
        let limits = device.limits();
        let skipped = start % u64::from(limits.binding_alignment);
        let offset = start - skipped;
        // A binding has bytes, also one that none are read from.
        let got = (end.next_multiple_of(4) - offset).max(4);
        if got > limits.binding_bytes {
            return Err(Error::OverLimit { what, unit: "bytes", limit: limits.binding_bytes, got });
        }
        Ok((Self { buffer, offset, bytes: got }, skipped as u32))
    }

    /// The whole buffer.
    ///
    /// # Errors
    /// They are those of [`of_bytes`](Self::of_bytes).
    pub fn whole(device: &Device, buffer: &'a Buffer) -> Result<Self, Error> {
        Self::of_bytes(device, buffer, 0, buffer.bytes).map(|(binding, _)| binding)
    }
}

/// What is written before it is waited for: the driver keeps a copy of it until then.
const UPLOAD_BYTES: usize = 16 << 20;

impl Device {
    /// Memory of so many floats, all of them 0.
    ///
    /// # Errors
    /// [`Error::OverLimit`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn zeros(&self, what: &'static str, floats: u64) -> Result<Buffer, Error> {
        self.allocate(what, floats.saturating_mul(4))
    }

    /// Memory with these bytes, and zeros up to the next multiple of 4. What is large goes over in pieces, each waited for.
    ///
    /// # Errors
    /// They are those of [`zeros`](Self::zeros), and [`Error::Unfinished`].
    pub fn upload(&self, what: &'static str, bytes: &[u8]) -> Result<Buffer, Error> {
        let buffer = self.allocate(what, (bytes.len() as u64).next_multiple_of(4))?;
        self.write(&buffer, 0, bytes)?;
        Ok(buffer)
    }

    /// Memory with these floats.
    ///
    /// # Errors
    /// They are those of [`upload`](Self::upload).
    pub fn upload_floats(&self, what: &'static str, values: &[f32]) -> Result<Buffer, Error> {
        self.upload(what, bytemuck::cast_slice(values))
    }

    /// Writes bytes to a buffer from byte `start` on, a multiple of 4; zeros follow up to the next multiple of 4. It happens before
    /// anything that is submitted afterwards.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::OutOfMemory`], [`Error::OtherDevice`], [`Error::Lost`], [`Error::Unfinished`].
    pub fn write(&self, buffer: &Buffer, start: u64, bytes: &[u8]) -> Result<(), Error> {
        let what = "an upload";
        self.own("a buffer", buffer.device)?;
        let end = start.checked_add((bytes.len() as u64).next_multiple_of(4));
        if end.is_none_or(|end| end > buffer.bytes) || !start.is_multiple_of(4) {
            return Err(Error::OutOfRange { what, end: end.unwrap_or(u64::MAX), bytes: buffer.bytes });
        }
        let mut start = start;
        for piece in bytes.chunks(UPLOAD_BYTES) {
            let whole = piece.len() / 4 * 4;
            let mut last = [0; 4];
            last[..piece.len() - whole].copy_from_slice(&piece[whole..]);
            self.guarded(what, piece.len() as u64, || {
                self.queue().write_buffer(&buffer.inner, start, &piece[..whole]);
                if whole < piece.len() {
                    self.queue().write_buffer(&buffer.inner, start + whole as u64, &last);
                }
            })?;
            start += piece.len() as u64;
            let waiting = self.waiting_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if waiting + piece.len() as u64 >= UPLOAD_BYTES as u64 {
                self.submit(&[])?;
                self.wait()?;
                self.waiting_bytes.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Sets bytes of a buffer to 0, behind all that was submitted before; `start` and `bytes` are multiples of 4.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::OtherDevice`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn clear(&self, buffer: &Buffer, start: u64, bytes: u64) -> Result<(), Error> {
        let what = "clearing";
        self.own("a buffer", buffer.device)?;
        let end = start.checked_add(bytes).filter(|_| (start | bytes).is_multiple_of(4));
        if end.is_none_or(|end| end > buffer.bytes) {
            return Err(Error::OutOfRange { what, end: end.unwrap_or(u64::MAX), bytes: buffer.bytes });
        }
        let cleared = self.submit_counted(what, true, |encoder| {
            encoder.clear_buffer(&buffer.inner, start, Some(bytes));
        });
        cleared.map(drop)
    }

    /// Waits for all that was submitted, and reads `bytes` bytes from byte `start` of a buffer on; both are multiples of 4.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::OutOfMemory`], [`Error::OtherDevice`], [`Error::Lost`], [`Error::Unfinished`].
    pub fn read(&self, buffer: &Buffer, start: u64, bytes: u64) -> Result<Vec<u8>, Error> {
        self.read_ranges(&[(buffer, start, bytes)])
    }

    /// [`read`](Self::read) of several pieces in one go, one behind the other: each is a buffer, the first byte and how many.
    ///
    /// # Errors
    /// They are those of [`read`](Self::read), and [`Error::OverLimit`] if all together are as much as a buffer.
    pub fn read_ranges(&self, ranges: &[(&Buffer, u64, u64)]) -> Result<Vec<u8>, Error> {
        let what = "a download";
        let mut total = 0_u64;
        for &(buffer, start, bytes) in ranges {
            self.own("a buffer", buffer.device)?;
            let end = start.checked_add(bytes).filter(|_| (start | bytes).is_multiple_of(4));
            if end.is_none_or(|end| end > buffer.bytes) {
                return Err(Error::OutOfRange { what, end: end.unwrap_or(u64::MAX), bytes: buffer.bytes });
            }
            total = total.saturating_add(bytes);
        }
        if total == 0 {
            return Ok(Vec::new());
        }
        let limit = self.limits().buffer_bytes.saturating_sub(TALLY_BYTES);
        if total > limit {
            return Err(Error::OverLimit { what, unit: "bytes", limit, got: total });
        }
        if self.take_fault_of_memory() {
            return Err(Error::OutOfMemory { what, bytes: total });
        }
        let counted = lock(&self.tally.expected);
        let expected = *counted;
        let staging = self.guarded(what, total, || {
            let staging = self.inner().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: total + TALLY_BYTES,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            });
            let mut encoder = self.inner().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut at = 0;
            for &(buffer, start, bytes) in ranges.iter().filter(|(.., bytes)| *bytes > 0) {
                encoder.copy_buffer_to_buffer(&buffer.inner, start, &staging, at, bytes);
                at += bytes;
            }
            encoder.copy_buffer_to_buffer(&self.tally.count, 0, &staging, at, TALLY_BYTES);
            self.queue().submit([encoder.finish()]);
            staging
        })?;
        drop(counted);
        let (sender, receiver) = std::sync::mpsc::channel();
        self.guarded(what, total, || {
            // Nobody listens any more after an error.
            staging.map_async(wgpu::MapMode::Read, .., move |result| drop(sender.send(result)));
        })?;
        self.wait()?;
        let failed = |reason: String| Error::Failed { what, reason };
        // It is told by whichever thread waited for the device first, which may still be about to do so.
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.lost_or(failed(error.to_string()))),
            Err(error) => return Err(self.lost_or(failed(error.to_string()))),
        }
        let view = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
        let mut bytes = view.to_vec();
        drop(view);
        if bytes.split_off(total as usize) != expected.to_le_bytes() {
            self.lose("what was submitted did not run to its end");
        }
        self.check()?;
        if self.simulated() == Some(SimulatedFault::WrongNumbers) {
            let half = bytes.len() / 8 * 4;
            bytes.rotate_left(half);
        }
        Ok(bytes)
    }

    /// Waits for all that was submitted, and reads floats from float `first` of a buffer on.
    ///
    /// # Errors
    /// They are those of [`read`](Self::read).
    pub fn read_floats(&self, buffer: &Buffer, first: u64, floats: u64) -> Result<Vec<f32>, Error> {
        let bytes = self.read(buffer, first.saturating_mul(4), floats.saturating_mul(4))?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Buffer, Error> {
        let limit = self.limits().buffer_bytes;
        if bytes > limit {
            return Err(Error::OverLimit { what, unit: "bytes", limit, got: bytes });
        }
        if self.take_fault_of_memory() {
            return Err(Error::OutOfMemory { what, bytes });
        }
        // Without bytes there is no buffer.
        let bytes = bytes.max(4);
        let inner = self.guarded(what, bytes, || {
            self.inner().create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size: bytes,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        Ok(Buffer { inner, device: self.id(), bytes })
    }
}
