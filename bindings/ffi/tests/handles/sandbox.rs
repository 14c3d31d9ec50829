//! What each test begins with: a tiny model, a store, and a device whose state it sets.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use nightgraft_ffi::{
    AdapterStore, BaseModel, DeviceState, Example, ListenerError, PersonalizationSession, Platform,
    PlatformError, Progress, ProgressListener, SessionSettings, StoreSettings, Thermal,
};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{CHATML, TinyModel};
use pollster::block_on;

/// A folder with a tiny model and, once it is asked for, a store.
pub struct Sandbox {
    pub folder: tempfile::TempDir,
    pub model: Arc<BaseModel>,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_1) };
        tiny.write(&path).unwrap();
        let model = block_on(BaseModel::open(path.display().to_string())).unwrap();
        Self { folder, model }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn store(&self) -> Arc<AdapterStore> {
        let settings = StoreSettings { seed: Some(3), ..StoreSettings::default() };
        block_on(AdapterStore::open(self.path().display().to_string(), settings)).unwrap()
    }

    pub fn store_with_examples(&self) -> Arc<AdapterStore> {
        let store = self.store();
        block_on(store.add((0..40).map(line).collect())).unwrap();
        store
    }

    /// Long enough to be interrupted.
    pub fn session(&self, store: &Arc<AdapterStore>, epochs: u32) -> Arc<PersonalizationSession> {
        let settings = SessionSettings {
            context: 64,
            batch_tokens: Some(64),
            epochs,
            threads: Some(2),
            ..SessionSettings::default()
        };
        block_on(PersonalizationSession::open(self.model.clone(), store.clone(), settings)).unwrap()
    }
}

pub fn line(i: usize) -> Example {
    Example::Text { text: format!("a made-up line, number {i}: boats, {} of them", i * 7) }
}

/// Lets a test wait for what a session tells.
#[derive(Default)]
pub struct ProgressLatch {
    last: Mutex<Option<Progress>>,
    changed: Condvar,
}

impl ProgressListener for ProgressLatch {
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError> {
        *self.last.lock().unwrap() = Some(progress);
        self.changed.notify_all();
        Ok(())
    }
}

impl ProgressLatch {
    pub fn wait_until(&self, is_so: impl Fn(&Progress) -> bool) {
        let last = self.last.lock().unwrap();
        drop(self.changed.wait_while(last, |last| !last.as_ref().is_some_and(&is_so)).unwrap());
    }

    pub fn wait_for_step(&self, step: u64) {
        self.wait_until(|progress| progress.step >= step);
    }
}

/// A device whose state a test sets.
pub struct FakePlatform(pub Mutex<Result<DeviceState, PlatformError>>);

impl FakePlatform {
    pub fn ready() -> DeviceState {
        DeviceState {
            charging: true,
            battery: 1.0,
            thermal: Thermal::Nominal,
            temperature: Some(25.0),
            low_power_mode: false,
            idle: true,
            memory_available: 8 << 30,
            storage_free: 64 << 30,
            unix_seconds: 1_790_000_000,
            utc_offset_seconds: 3600,
        }
    }
}

impl Platform for FakePlatform {
    fn state(&self) -> Result<DeviceState, PlatformError> {
        self.0.lock().unwrap().clone()
    }
}

/// A phone that lies on a table all night.
pub fn unplugged() -> Arc<FakePlatform> {
    Arc::new(FakePlatform(Mutex::new(Ok(DeviceState { charging: false, ..FakePlatform::ready() }))))
}
