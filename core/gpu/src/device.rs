//! An open device: what is submitted to it, and how its faults become errors.
//!
//! wgpu reports a fault to the innermost error scope of the thread, or to a handler, which by default panics. Here every call is
//! made inside a scope of each kind, the handler keeps what came otherwise, and a lost device is remembered: the next call that
//! returns anything returns it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dispatch::ParameterSlots;
use crate::tally::Tally;
use crate::{AdapterInfo, Dispatch, Error, Limits, Pipeline, Program};

/// How long a device may take for what was submitted. Drivers give up themselves long before.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// An open device. It may be used by several threads.
#[derive(Debug)]
pub struct Device {
    inner: wgpu::Device,
    queue: wgpu::Queue,
    info: AdapterInfo,
    id: DeviceId,
    faults: Arc<Faults>,
    simulated: Mutex<Option<SimulatedFault>>,
    pub(crate) pipelines: Mutex<HashMap<Program, Pipeline>>,
    /// The driver's collection of what was compiled.
    pub(crate) compiled: Option<wgpu::PipelineCache>,
    pub(crate) parameters: Mutex<ParameterSlots>,
    pub(crate) tally: Tally,
    /// Bytes that were written since it was last waited for that.
    pub(crate) waiting_bytes: AtomicU64,
}

/// What was submitted at once, and can be waited for.
#[derive(Clone, Debug)]
pub struct Submission(wgpu::SubmissionIndex);

/// What tells the devices of a process apart: wgpu panics if it is given what belongs to another instance of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceId(u64);

/// A fault of a device that [`Device::simulate`] imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimulatedFault {
    /// After so many further submissions it is lost.
    LostAfter {
        /// How many succeed.
        submissions: u64,
    },
    /// It has no memory left.
    OutOfMemory,
    /// It has none when it is asked for the next time.
    OutOfMemoryOnce,
    /// What is read from it is in the wrong order.
    WrongNumbers,
    /// It says that the next submission is done, and has not run it.
    Skips,
    /// Compiling a shader in half precision is the end of it.
    LostByHalves,
}

/// What went wrong outside of a call's own scope.
#[derive(Debug, Default)]
struct Faults {
    lost: Mutex<Option<String>>,
    uncaught: Mutex<Option<String>>,
}

impl Device {
    pub(crate) fn new(inner: wgpu::Device, queue: wgpu::Queue, info: AdapterInfo) -> Self {
        let faults = Arc::new(Faults::default());
        let on_lost = Arc::clone(&faults);
        inner.set_device_lost_callback(move |_, reason| keep_first(&on_lost.lost, reason));
        let on_error = Arc::clone(&faults);
        inner.on_uncaptured_error(Arc::new(move |error| keep_first(&on_error.uncaught, error.to_string())));
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let id = DeviceId(OPENED.fetch_add(1, Ordering::Relaxed));
        Self {
            tally: Tally::new(&inner, &queue),
            inner,
            queue,
            info,
            id,
            faults,
            simulated: Mutex::default(),
            pipelines: Mutex::default(),
            compiled: None,
            parameters: Mutex::default(),
            waiting_bytes: AtomicU64::new(0),
        }
    }

    /// What its driver says of it; the limits are those that it was opened with.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// What it can do at most.
    pub fn limits(&self) -> Limits {
        self.info.limits
    }

    /// Starts these dispatches, one after the other: each sees what those before it have written. It does not wait for them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Lost`], [`Error::OtherDevice`].
    pub fn submit<'a>(
        &self,
        dispatches: impl IntoIterator<Item = &'a Dispatch>,
    ) -> Result<Submission, Error> {
        let is_run = self.imitate_fault_of_submission();
        let dispatches: Vec<_> = dispatches.into_iter().collect();
        dispatches.iter().try_for_each(|dispatch| self.own("a dispatch", dispatch.device))?;
        self.submit_counted("a submission", is_run, |encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            dispatches.iter().for_each(|dispatch| dispatch.encode(&mut pass));
        })
    }

    /// Submits what is given to the encoder, and counts it; unless it is to run, it is only counted.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Lost`].
    pub(crate) fn submit_counted(
        &self,
        what: &'static str,
        is_run: bool,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<Submission, Error> {
        let mut expected = lock(&self.tally.expected);
        let number = expected.wrapping_add(1);
        let submission = self.guarded(what, 0, || {
            let mut encoder = self.inner.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encode(&mut encoder);
            self.tally.encode(&self.queue, &mut encoder, number);
            Submission(self.queue.submit(is_run.then(|| encoder.finish())))
        })?;
        *expected = number;
        Ok(submission)
    }

    /// Waits until all that was submitted is done.
    ///
    /// # Errors
    /// [`Error::Unfinished`] after two minutes, [`Error::Lost`].
    pub fn wait(&self) -> Result<(), Error> {
        self.poll(None)
    }

    /// Waits until this submission, and all before it, is done.
    ///
    /// # Errors
    /// They are those of [`wait`](Self::wait).
    pub fn wait_for(&self, submission: &Submission) -> Result<(), Error> {
        self.poll(Some(submission.0.clone()))
    }

    fn poll(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let poll = wgpu::PollType::Wait { submission_index, timeout: Some(PATIENCE) };
        // wgpu panics here, and here alone, if the device is lost while it waits; it has released its locks by then, and is only
        // asked for the reason afterwards.
        let polled = catch_unwind(AssertUnwindSafe(|| self.inner.poll(poll)));
        self.check()?;
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => {
                // The last handle of a queue waits for its device without end: this one has none.
                std::mem::forget(self.queue.clone());
                Err(Error::Unfinished { seconds: PATIENCE.as_secs() })
            }
            Ok(Err(error)) => Err(Error::Failed { what: "waiting", reason: error.to_string() }),
            Err(_) => Err(Error::Lost { reason: "it failed while it was waited for".to_owned() }),
        }
    }

    /// Gives the device up, as a driver does that is reset: everything that is asked of it afterwards fails with [`Error::Lost`].
    pub fn destroy(&self) {
        self.lose("it was given up");
    }

    pub(crate) fn lose(&self, reason: &str) {
        keep_first(&self.faults.lost, reason.to_owned());
        self.inner.destroy();
    }

    /// Behaves from now on like a device with this fault, for testing what is done about it.
    pub fn simulate(&self, fault: SimulatedFault) {
        *lock(&self.simulated) = Some(fault);
    }

    pub(crate) fn simulated(&self) -> Option<SimulatedFault> {
        *lock(&self.simulated)
    }

    /// Whether a lack of memory is imitated; one that is once is over then.
    pub(crate) fn take_fault_of_memory(&self) -> bool {
        let mut simulated = lock(&self.simulated);
        let is_once = *simulated == Some(SimulatedFault::OutOfMemoryOnce);
        if is_once {
            *simulated = None;
        }
        is_once || *simulated == Some(SimulatedFault::OutOfMemory)
    }

    /// Whether the next submission is to run: not if a device is imitated that skips it.
    fn imitate_fault_of_submission(&self) -> bool {
        let mut simulated = lock(&self.simulated);
        match &mut *simulated {
            Some(SimulatedFault::LostAfter { submissions }) => {
                match submissions.checked_sub(1) {
                    Some(left) => *submissions = left,
                    None => self.destroy(),
                }
                true
            }
            Some(SimulatedFault::Skips) => {
                *simulated = None;
                false
            }
            _ => true,
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// Whether something is this device's.
    pub(crate) fn own(&self, what: &'static str, of: DeviceId) -> Result<(), Error> {
        if of == self.id { Ok(()) } else { Err(Error::OtherDevice { what }) }
    }

    pub(crate) fn inner(&self) -> &wgpu::Device {
        &self.inner
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Makes a call of wgpu's, whose faults are returned. `bytes` is the memory that it takes, for the message.
    pub(crate) fn guarded<T>(
        &self,
        what: &'static str,
        bytes: u64,
        call: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        self.check()?;
        let memory = self.inner.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.inner.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.inner.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = call();
        let caught = [
            pollster::block_on(validation.pop()),
            pollster::block_on(internal.pop()),
            pollster::block_on(memory.pop()),
        ];
        self.check()?;
        match caught.into_iter().flatten().next() {
            None => Ok(result),
            Some(error) => Err(translated(error, what, bytes)),
        }
    }

    /// The device's loss if it is lost, or else this error.
    pub(crate) fn lost_or(&self, error: Error) -> Error {
        self.check().err().unwrap_or(error)
    }

    /// What went wrong outside of a call's own scope, if something has.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(reason) = lock(&self.faults.lost).clone() {
            return Err(Error::Lost { reason });
        }
        match lock(&self.faults.uncaught).take() {
            Some(reason) => Err(Error::Failed { what: "an earlier call", reason }),
            None => Ok(()),
        }
    }
}

fn translated(error: wgpu::Error, what: &'static str, bytes: u64) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { what, bytes },
        error => Error::Failed { what, reason: error.to_string() },
    }
}

fn keep_first(place: &Mutex<Option<String>>, reason: String) {
    lock(place).get_or_insert(reason);
}

/// No holder of these locks panics in between.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_s_faults_are_told_apart() {
        let source = || Box::new(std::fmt::Error);
        let memory = wgpu::Error::OutOfMemory { source: source() };
        assert_eq!(translated(memory, "weights", 9), Error::OutOfMemory { what: "weights", bytes: 9 });
        let description = "a device id that is not known".to_owned();
        let internal = wgpu::Error::Internal { source: source(), description: description.clone() };
        assert_eq!(translated(internal, "linear", 0), Error::Failed { what: "linear", reason: description });
    }
}
