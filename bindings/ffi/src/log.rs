//! What the library has to log, for the log of the app's system.

use std::fmt::{Debug, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::thread;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::error::ListenerError;
use crate::lock::lock;

/// Lines that wait for a sink; more are lost.
const MAX_WAITING: usize = 1024;

/// Gets what the library has to log.
///
/// It is called from one thread of the library's, which nothing else waits for. What it throws is passed over.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// One line: how important it is, the part of the library that it comes from, and what there is to say. It names files and
    /// settings, never a user's text.
    fn log(&self, level: LogLevel, target: String, message: String) -> Result<(), ListenerError>;
}

/// How important a line is, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, uniffi::Enum)]
pub enum LogLevel {
    /// Something has failed.
    Error,
    /// Something is not as it should be, and goes on.
    Warn,
    /// What a night does and waits for.
    Info,
    /// For those who work on the library.
    Debug,
}

/// From now on hands all lines of this level and of more important ones to `sink`, in place of the one before; none ends that.
#[uniffi::export]
pub fn set_log_sink(sink: Option<Arc<dyn LogSink>>, at_least: LogLevel) {
    let installed = sink.map(|sink| Installed { sink, at_least });
    let former = std::mem::replace(&mut *lock(&INSTALLED), installed);
    LazyLock::force(&SUBSCRIBED);
    drop(former); // without the lock: the app's code that ends with it may log
}

struct Installed {
    sink: Arc<dyn LogSink>,
    at_least: LogLevel,
}

static INSTALLED: Mutex<Option<Installed>> = Mutex::new(None);

/// Whether the lines of this process come here: not if a program in Rust, that this library is a part of, has its own log.
static SUBSCRIBED: LazyLock<bool> = LazyLock::new(|| {
    let (lines, waiting) = mpsc::sync_channel(MAX_WAITING);
    let telling = thread::Builder::new().name("nightgraft-log".into());
    telling.spawn(|| waiting.into_iter().for_each(tell)).is_ok()
        && tracing::subscriber::set_global_default(AppLog { lines }).is_ok()
});

/// Hands a line to the sink that is installed now.
fn tell(Line { level, target, message }: Line) {
    let sink = lock(&INSTALLED).as_ref().map(|installed| installed.sink.clone());
    if let Some(sink) = sink {
        let _ = catch_unwind(AssertUnwindSafe(|| sink.log(level, target.to_owned(), message)));
    }
}

struct Line {
    level: LogLevel,
    target: &'static str,
    message: String,
}

/// Takes the lines where they come up.
struct AppLog {
    lines: mpsc::SyncSender<Line>,
}

impl Subscriber for AppLog {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes() // other sinks want other levels
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("nightgraft") || metadata.target() == "ggml";
        let level = LogLevel::of(*metadata.level());
        let wanted = lock(&INSTALLED).as_ref().map(|installed| installed.at_least);
        is_ours
            && metadata.is_event()
            && level.is_some_and(|level| wanted.is_some_and(|wanted| level <= wanted))
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(level) = LogLevel::of(*metadata.level()) else { return };
        let mut words = Words::default();
        event.record(&mut words);
        let message = words.message + &words.fields;
        let _ = self.lines.try_send(Line { level, target: metadata.target(), message }); // or it is lost
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl LogLevel {
    fn of(level: Level) -> Option<Self> {
        match level {
            Level::ERROR => Some(Self::Error),
            Level::WARN => Some(Self::Warn),
            Level::INFO => Some(Self::Info),
            Level::DEBUG => Some(Self::Debug),
            _ => None,
        }
    }
}

/// A line's message, and behind it what is known besides.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name}: {value:?}"),
        }; // a text takes everything
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    type Told = (LogLevel, String, String);

    /// Passes on what this test logs, then fails.
    struct FailingSink(Mutex<Sender<Told>>);

    impl LogSink for FailingSink {
        fn log(&self, level: LogLevel, target: String, message: String) -> Result<(), ListenerError> {
            if target == "nightgraft::made_up" {
                let panics = message == "panic";
                lock(&self.0).send((level, target, message)).unwrap();
                assert!(!panics, "made to");
            }
            Err(ListenerError::Failed { reason: "made to".into() })
        }
    }

    /// Logs when it is dropped, as what an app releases with its sink may.
    impl Drop for FailingSink {
        fn drop(&mut self) {
            tracing::warn!(target: "nightgraft::made_up", "the sink ends");
        }
    }

    fn install(at_least: LogLevel) -> Receiver<Told> {
        let (sender, told) = channel();
        set_log_sink(Some(Arc::new(FailingSink(Mutex::new(sender)))), at_least);
        told
    }

    #[test]
    fn the_newest_sink_gets_the_lines_of_its_level_and_may_fail() {
        let told = install(LogLevel::Info);
        tracing::warn!(target: "nightgraft::made_up", graft = 7, why = %"a made-up reason", "passed over");
        tracing::debug!(target: "nightgraft::made_up", "not of its level");
        tracing::error!(target: "somebody_else", "not ours");
        tracing::error!(target: "nightgraft::made_up", "panic");
        tracing::info!(target: "nightgraft::made_up", "it goes on");
        let line = |level, message: &str| (level, "nightgraft::made_up".to_owned(), message.to_owned());
        let expected = [
            line(LogLevel::Warn, "passed over, graft: 7, why: a made-up reason"),
            line(LogLevel::Error, "panic"),
            line(LogLevel::Info, "it goes on"),
        ];
        assert_eq!([(); 3].map(|()| told.recv().unwrap()), expected);

        let other = install(LogLevel::Debug);
        tracing::debug!(target: "nightgraft::made_up", "of its level");
        let lines = [line(LogLevel::Warn, "the sink ends"), line(LogLevel::Debug, "of its level")];
        let heard = [(); 2].map(|()| other.recv().unwrap());
        assert!(lines.iter().all(|line| heard.contains(line)), "{heard:?}");
        set_log_sink(None, LogLevel::Debug);
        tracing::error!(target: "nightgraft::made_up", "nobody hears it");
        assert!(told.recv().is_err() && other.recv().is_err(), "both are gone");
    }
}
