//! What the owner of the data may ask for, through the handles that apps hold.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nightgraft_ffi::{
    AdapterStore, BytesListener, DestroyReport, ListenerError, NightgraftError, PauseReason, SliceOutcome,
    StoreSettings, destroy_store, published_models, verify_model,
};
use pollster::block_on;

use crate::sandbox::{ProgressLatch, Sandbox};

#[test]
fn what_is_left_is_learned_anew_after_forgetting() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2);
    block_on(session.run_slice(None, None)).unwrap();
    block_on(store.promote_anyway(1)).unwrap();
    assert!(matches!(block_on(session.run_slice(None, None)).unwrap(), SliceOutcome::NothingToDo { .. }));
    // Four are held out at most, so that one of these was learned.
    let report = block_on(store.forget((1..=5).collect())).unwrap();
    assert_eq!((report.deleted, report.deleted_grafts), ((1..=5).collect(), vec![1]));
    assert_eq!((report.current, block_on(store.current()).unwrap()), (None, None));
    assert!(matches!(block_on(session.run_slice(None, None)).unwrap(), SliceOutcome::Finished { .. }));
    let grafts = block_on(store.grafts()).unwrap();
    assert_eq!((grafts.len(), grafts[0].id, grafts[0].saw_deleted.len()), (1, 2, 0));
    assert!(grafts[0].examples <= 35);
}

#[test]
fn a_slice_that_learns_what_is_forgotten_gives_it_up() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let session = sandbox.session(&store, 2000);
    let latch = Arc::new(ProgressLatch::default());
    thread::scope(|scope| {
        let running = scope.spawn(|| block_on(session.run_slice(None, Some(latch.clone()))).unwrap());
        latch.wait_for_step(3);
        let forgotten = block_on(store.forget((1..=5).collect())).unwrap();
        assert_eq!((forgotten.deleted.len(), forgotten.session_dropped), (5, true));
        session.stop();
        assert_eq!(running.join().unwrap(), SliceOutcome::Paused { reason: PauseReason::Stopped });
    });
    assert_eq!(block_on(store.examples()).unwrap().len(), 35);
}

#[test]
fn a_store_is_destroyed_when_nobody_has_it_open() {
    let sandbox = Sandbox::new();
    let store = sandbox.store_with_examples();
    let folder = sandbox.folder.path().join("store");
    let destroy = || block_on(destroy_store(folder.display().to_string()));
    assert!(matches!(destroy(), Err(NightgraftError::StoreLocked { .. })));
    assert_eq!(block_on(store.examples()).unwrap().len(), 40);
    block_on(store.release()).unwrap();
    let report = destroy().unwrap();
    assert!(report.removed.contains(&"store.ngs".to_owned()) && report.left.is_empty(), "{report:?}");
    assert!(!folder.exists());
    assert_eq!(destroy().unwrap(), DestroyReport { removed: vec![], left: vec![] });
    let models = sandbox.folder.path().display().to_string();
    assert!(matches!(block_on(destroy_store(models)), Err(NightgraftError::Unsupported { .. })));
    assert!(sandbox.folder.path().join("tiny.gguf").exists());
}

#[test]
fn both_keys_open_a_store_whose_key_is_to_be_another() {
    let sandbox = Sandbox::new();
    let folder = sandbox.folder.path().join("encrypted").display().to_string();
    let open = |key: [u8; 32], former: Option<[u8; 32]>| {
        let (key, former_key) = (Some(key.to_vec()), former.map(|key| key.to_vec()));
        block_on(AdapterStore::open(
            folder.clone(),
            StoreSettings { key, former_key, ..StoreSettings::default() },
        ))
    };
    let (old, new) = ([1; 32], [2; 32]);
    drop(open(old, None).unwrap());
    for _ in 0..2 {
        drop(open(new, Some(old)).unwrap());
        assert!(matches!(open(old, None).err(), Some(NightgraftError::WrongKey { .. })));
    }
    drop(open(new, None).unwrap());
    let keyless = StoreSettings { former_key: Some(old.to_vec()), ..StoreSettings::default() };
    let error = block_on(AdapterStore::open(folder.clone(), keyless)).err().unwrap();
    assert!(matches!(error, NightgraftError::Unsupported { .. }), "{error}");
}

/// Counts, and fails when asked to.
struct Counter {
    read: AtomicU64,
    fails: bool,
}

impl BytesListener for Counter {
    fn on_bytes(&self, read: u64) -> Result<(), ListenerError> {
        self.read.store(read, Ordering::SeqCst);
        if self.fails { Err(ListenerError::Failed { reason: "made to".into() }) } else { Ok(()) }
    }
}

#[test]
fn a_download_that_is_not_whole_is_to_be_fetched_again() {
    /// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let verify = |fails| {
        let counter = Arc::new(Counter { read: AtomicU64::new(0), fails });
        let verified =
            block_on(verify_model(path.display().to_string(), 3, SUM.to_owned(), Some(counter.clone())));
        (verified, counter.read.load(Ordering::SeqCst))
    };
    fs::write(&path, "abc").unwrap();
    assert_eq!(verify(false), (Ok(()), 3));
    assert!(matches!(verify(true), (Err(NightgraftError::Cancelled { .. }), 3)));
    for content in ["abd", "ab", "abcd"] {
        fs::write(&path, content).unwrap();
        let Err(NightgraftError::InvalidModel { reason }) = verify(false).0 else { panic!("{content}") };
        assert!(reason.ends_with("fetch it again"), "{reason}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(verify(false).0, Err(NightgraftError::InvalidModel { .. })));
}

#[test]
fn every_published_model_can_be_fetched_and_checked() {
    for model in published_models() {
        assert!(model.url.starts_with("https://") && model.url.ends_with(&model.file), "{}", model.name);
        assert_eq!(model.sha256.len(), 64, "{}", model.name);
        assert!(
            model.bytes > 1 << 20 && model.context >= 2048 && !model.licence.is_empty(),
            "{}",
            model.name
        );
    }
}
