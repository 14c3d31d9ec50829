//! Listeners that fail, that close what they listen to, and that find the model changed.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nightgraft_ffi::{
    Generator, ListenerError, Message, NightgraftError, PauseReason, Phase, Progress, ProgressListener,
    SliceOutcome, TextListener,
};
use pollster::block_on;

use crate::sandbox::Sandbox;

struct ThrowingListener(AtomicU64);

impl ProgressListener for ThrowingListener {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        if progress.phase != Phase::Training {
            return Ok(());
        }
        Err(ListenerError::Failed { reason: "made to".into() })
    }
}

impl TextListener for ThrowingListener {
    fn on_text(&self, _: String) -> Result<(), ListenerError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(ListenerError::Failed { reason: "made to".into() })
    }
}

#[test]
fn a_listener_that_throws_ends_the_work() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    let thrower = Arc::new(ThrowingListener(AtomicU64::new(0)));
    let error = block_on(session.run_slice(None, Some(thrower.clone()))).unwrap_err();
    assert_eq!(error, NightgraftError::Cancelled { reason: "the listener failed: made to".into() });
    let outcome = block_on(session.run_slice(Some(0.0), None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline }, "it goes on");

    let generator = block_on(Generator::open(sandbox.model.clone(), Some(1))).unwrap();
    let thrower = Arc::new(ThrowingListener(AtomicU64::new(0)));
    let turn = Message { role: "user".into(), content: "hello".into() };
    let error = block_on(generator.chat(vec![turn], Default::default(), Some(thrower.clone()))).unwrap_err();
    assert!(matches!(error, NightgraftError::Cancelled { .. }), "{error}");
    assert_eq!(thrower.0.load(Ordering::SeqCst), 1);
}

/// Cuts the model short when it is told something.
struct ModelTruncator(PathBuf);

impl ModelTruncator {
    fn cut(&self) {
        fs::OpenOptions::new().write(true).open(&self.0).unwrap().set_len(5000).unwrap();
    }
}

impl ProgressListener for ModelTruncator {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        if progress.step > 2 {
            self.cut();
        }
        Ok(())
    }
}

impl TextListener for ModelTruncator {
    fn on_text(&self, _: String) -> Result<(), ListenerError> {
        self.cut();
        Ok(())
    }
}

#[test]
fn a_model_that_is_cut_short_is_an_error_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let model = sandbox.folder.path().join("tiny.gguf");
    let whole = fs::read(&model).unwrap();
    let is_named = |error: NightgraftError| match error {
        NightgraftError::ModelChanged { reason } => assert!(reason.contains("tiny.gguf"), "{reason}"),
        other => panic!("{other}"),
    };
    let truncator = Arc::new(ModelTruncator(model.clone()));

    let generator = block_on(Generator::open(sandbox.model.clone(), Some(1))).unwrap();
    let turns = || vec![Message { role: "user".into(), content: "hello".into() }];
    is_named(block_on(generator.chat(turns(), Default::default(), Some(truncator.clone()))).unwrap_err());
    is_named(block_on(generator.chat(turns(), Default::default(), None)).unwrap_err());
    fs::write(&model, &whole).unwrap();

    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    is_named(block_on(session.run_slice(None, Some(truncator))).unwrap_err());
    let step = session.progress().step;
    fs::write(&model, &whole).unwrap();
    let again = sandbox.session(&store, 2000);
    let outcome = block_on(again.run_slice(Some(0.0), None)).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Deadline });
    assert!(again.progress().step >= step && step > 2, "{} after {step}", again.progress().step);
}

/// Does something at every state that it is told.
struct CallbackListener<F>(F);

impl<F: Fn(Progress) + Send + Sync> ProgressListener for CallbackListener<F> {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        (self.0)(progress);
        Ok(())
    }
}

#[test]
fn a_listener_may_close_its_session_and_its_store() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    let (closing, closed) =
        (Mutex::new(Some((session.clone(), store.clone()))), Arc::new(AtomicBool::new(false)));
    let done = closed.clone();
    let listener = CallbackListener(move |progress: Progress| {
        if progress.phase == Phase::Training
            && let Some((session, store)) = closing.lock().unwrap().take()
        {
            block_on(session.release()).unwrap();
            block_on(store.release()).unwrap();
            done.store(true, Ordering::SeqCst);
        }
    });
    let outcome = block_on(session.run_slice(None, Some(Arc::new(listener)))).unwrap();
    assert_eq!(outcome, SliceOutcome::Paused { reason: PauseReason::Stopped });
    assert!(closed.load(Ordering::SeqCst));
    // All is free again.
    drop(sandbox.store());
}

#[test]
fn a_listener_that_keeps_asking_the_store_does_not_stop_the_training() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 30);
    let asked = store.clone();
    let listener = CallbackListener(move |_| {
        block_on(asked.examples()).unwrap();
    });
    let outcome = block_on(session.run_slice(None, Some(Arc::new(listener)))).unwrap();
    assert!(matches!(outcome, SliceOutcome::Finished { .. }), "{outcome:?}");
    assert!(session.report().is_some());
}
