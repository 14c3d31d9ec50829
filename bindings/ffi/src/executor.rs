//! The threads that work for foreign callers.
//!
//! An async call hands its job to one of a few long-lived threads and waits without blocking anybody. Training has a
//! thread of its own, so that a night does not keep an answer waiting. What changes a store may have to wait for a slice, and
//! runs on a thread of that store's own; a download of gigabytes is checked on its own. What runs on the others waits for no
//! slice. Each is started when it is first needed and lives as long as its executor; four are there for as long as the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use futures_channel::oneshot;

use crate::error::{NightgraftError, Result};
use crate::lock::lock;

type Job = Box<dyn FnOnce() + Send>;

/// A long-lived thread that runs one job after another.
pub(crate) struct Executor {
    name: &'static str,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// Runs slices and nights.
pub(crate) static TRAINING_EXECUTOR: Executor = Executor::new("nightgraft-train");
/// Makes answers.
pub(crate) static INFERENCE_EXECUTOR: Executor = Executor::new("nightgraft-chat");
/// Reads downloads to their ends.
pub(crate) static VERIFYING_EXECUTOR: Executor = Executor::new("nightgraft-verify");
/// Opens stores and models, reads them, and wipes stores that nobody has open.
pub(crate) static READING_EXECUTOR: Executor = Executor::new("nightgraft-read");

/// Gives a queued call its result, once: the job's, or another one before the job has begun.
pub(crate) struct Completion<T>(Arc<Mutex<Option<oneshot::Sender<Result<T>>>>>);

/// What a queued call waits for.
pub(crate) type CompletionReceiver<T> = oneshot::Receiver<Result<T>>;

impl<T> Completion<T> {
    pub(crate) fn new() -> (Self, CompletionReceiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Gives `result` in place of the job's, unless that has begun.
    pub(crate) fn finish_unless_started(&self, result: Result<T>) {
        if let Some(sender) = lock(&self.0).take() {
            let _ = sender.send(result); // nobody waits any more
        }
    }
}

impl<T> Clone for Completion<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Executor {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, jobs: Mutex::new(None) }
    }

    /// Runs `job` after those that came before it. A panic becomes [`NightgraftError::Internal`]. If nobody waits any
    /// more when its turn comes, it is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_cancellable(Completion::new(), job).await
    }

    /// Does what [`run`](Self::run) does, unless the completion has a result before it is begun.
    pub(crate) async fn run_cancellable<T: Send + 'static>(
        &self,
        (completion, receiver): (Completion<T>, CompletionReceiver<T>),
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(Box::new(move || {
            let Some(sender) = lock(&completion.0).take().filter(|sender| !sender.is_canceled()) else {
                return;
            };
            let result = catch_unwind(AssertUnwindSafe(job));
            let result = result.unwrap_or_else(|panic| Err(NightgraftError::panicked(&*panic)));
            let _ = sender.send(result); // nobody waits any more
        }))?;
        receiver.await.unwrap_or_else(|_| Err(NightgraftError::cancelled("the library's thread has ended")))
    }

    fn submit(&self, job: Job) -> Result<()> {
        let internal = |problem: String| NightgraftError::Internal { reason: problem };
        let mut jobs = lock(&self.jobs);
        let sender = match &*jobs {
            Some(sender) => sender,
            None => {
                let (sender, receiver) = mpsc::channel::<Job>();
                thread::Builder::new()
                    .name(self.name.to_owned())
                    .spawn(move || receiver.into_iter().for_each(|job| job()))
                    .map_err(|error| internal(format!("cannot start a thread: {error}")))?;
                jobs.insert(sender)
            }
        };
        sender.send(job).map_err(|_| internal("the library's thread has ended".into()))
    }
}
