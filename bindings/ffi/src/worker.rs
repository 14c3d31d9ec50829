//! The threads that work for foreign callers.
//!
//! An async call hands its job to one of three long-lived threads and waits without blocking anybody. Training has a
//! thread of its own, so that a night does not keep an answer waiting, and the store has one, so that it can ask a
//! slice to make way. Each is started when it is first needed and lives as long as the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use futures_channel::oneshot;

use crate::error::{NightgraftError, Result};

type Job = Box<dyn FnOnce() + Send>;

/// One of the threads.
pub(crate) struct Worker {
    name: &'static str,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// Slices and nights.
pub(crate) static TRAINING: Worker = Worker::new("nightgraft-train");
/// Answers.
pub(crate) static ANSWERING: Worker = Worker::new("nightgraft-chat");
/// Stores, models, everything else.
pub(crate) static KEEPING: Worker = Worker::new("nightgraft-store");

impl Worker {
    const fn new(name: &'static str) -> Self {
        Self { name, jobs: Mutex::new(None) }
    }

    /// Runs `job` after those that came before it. A panic becomes [`NightgraftError::Internal`]. If nobody waits any
    /// more when its turn comes, it is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.submit(Box::new(move || {
            if sender.is_canceled() {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(job));
            let result = result.unwrap_or_else(|panic| Err(NightgraftError::panicked(&*panic)));
            let _ = sender.send(result); // nobody waits any more
        }))?;
        receiver.await.unwrap_or_else(|_| Err(NightgraftError::cancelled("the library's thread has ended")))
    }

    fn submit(&self, job: Job) -> Result<()> {
        let internal = |problem: String| NightgraftError::Internal { reason: problem };
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
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
