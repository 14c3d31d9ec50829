//! One open store, shared by everybody who works with it.
//!
//! A slice has the store for as long as it runs. Whoever only reads does so beside it, and waits for nobody but a change of the
//! key. Whoever changes something asks the slice to yield the store: it saves, gives the store back and goes on when nobody
//! else wants it. That costs a save and an opening, well under a second each; so that it gets on, whoever asks again at once
//! waits for up to two seconds, on a thread on which only changes of this store wait.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use nightgraft_core::session::StopFlag;
use nightgraft_store::{Key, Store, StoreOptions, StoreReader};
use zeroize::Zeroizing;

use crate::error::{NightgraftError, Result};
use crate::executor::Executor;
use crate::lock::lock;
use crate::settings::StoreSettings;
use crate::store_changes::ChangeSignal;

/// How long a slice that has yielded may go on before it does so again: a listener that asks the store for something at
/// every change would otherwise keep it from ever making a step.
const YIELD_COOLDOWN: Duration = Duration::from_secs(2);

/// A store and its queue.
pub(crate) struct SharedStore {
    slot: Mutex<StoreSlot>,
    /// Calls that want the store.
    waiting: AtomicUsize,
    /// The store was given back by one that waited.
    given_back: Condvar,
    running: Mutex<Option<RunningRound>>,
    /// What those who only read see; none once the app has closed the store.
    reader: RwLock<Option<StoreReader>>,
    /// Runs what changes the store.
    writer: Executor,
    changes: Arc<ChangeSignal>,
    folder: PathBuf,
    settings: StoreSettings,
    /// Replaced when the key is.
    key: Mutex<Option<Zeroizing<Vec<u8>>>>,
}

/// The round that has the store.
struct RunningRound {
    /// What ends it.
    flag: StopFlag,
    /// Before then nobody who wants the store does.
    left_alone_until: Instant,
}

/// Whether the store is open.
enum StoreSlot {
    Open(Box<Store>),
    /// An operation failed so badly that it has to be opened again.
    NeedsReopening,
    /// The app has closed it.
    Released,
}

/// How a round of a slice ended.
pub(crate) enum RoundOutcome<T> {
    /// By itself.
    Done(T),
    /// When somebody else wanted the store; perhaps by itself, in the same moment.
    Yielded(T),
}

impl SharedStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Those of [`Store::open`]; [`NightgraftError::Unsupported`] for a key that is not 32 bytes long.
    pub(crate) fn open(folder: PathBuf, mut settings: StoreSettings) -> Result<Self> {
        let key = settings.key.take().map(Zeroizing::new);
        let former_key = settings.former_key.take().map(Zeroizing::new);
        if former_key.is_some() && key.is_none() {
            let reason = "a former key needs the key that takes its place".to_owned();
            return Err(NightgraftError::Unsupported { reason });
        }
        let former_key = former_key.map(|bytes| parse_key(&bytes)).transpose()?;
        let options = StoreOptions { former_key, ..store_options(&settings, key.as_ref())? };
        let store = Store::open(&folder, options)?;
        // What is opened again is there already.
        settings.create = false;
        Ok(Self {
            reader: RwLock::new(Some(store.reader())),
            slot: Mutex::new(StoreSlot::Open(Box::new(store))),
            waiting: AtomicUsize::new(0),
            given_back: Condvar::new(),
            running: Mutex::new(None),
            writer: Executor::new("nightgraft-write"),
            changes: Arc::default(),
            folder,
            settings,
            key: Mutex::new(key),
        })
    }

    /// Reads the store, beside a slice that runs on it.
    ///
    /// # Errors
    /// [`NightgraftError::Cancelled`] after [`release`](Self::release); whatever `job` returns.
    pub(crate) fn read<T>(&self, job: impl FnOnce(&StoreReader) -> Result<T>) -> Result<T> {
        let reader = self.reader.read().unwrap_or_else(PoisonError::into_inner);
        job(reader.as_ref().ok_or_else(released_error)?)
    }

    /// Does something with the store on the thread for its changes, after those that were asked for before.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.clone();
        let write = move || {
            let result = shared.with(job);
            shared.changes.notify();
            result
        };
        self.writer.run(write).await
    }

    /// The store's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is said that something is to be read again.
    pub(crate) fn changes(&self) -> &Arc<ChangeSignal> {
        &self.changes
    }

    /// Does something with the store, as soon as a slice that runs on it has yielded it. Waits for that.
    ///
    /// # Errors
    /// [`NightgraftError::Cancelled`] after [`release`](Self::release); whatever `job` returns.
    pub(crate) fn with<T>(&self, job: impl FnOnce(&mut Store) -> Result<T>) -> Result<T> {
        self.wait_for_cooldown();
        let waiter = self.announce_waiter();
        let mut slot = waiter.lock_slot();
        let store = self.ensure_open(&mut slot)?;
        let result = job(store);
        *self.lock_reader() = Some(store.reader()); // of what was done, whatever `job` says of it
        result
    }

    /// Another key, for the store and for opening it again.
    ///
    /// # Errors
    /// Those of [`Store::rotate_key`].
    pub(crate) async fn rotate_key(self: &Arc<Self>, new: Vec<u8>) -> Result<()> {
        let new = Zeroizing::new(new);
        let key = parse_key(&new)?;
        let shared = self.clone();
        self.write(move |store| {
            // Nobody reads while some files are under one key and some under the other.
            let mut reader = shared.lock_reader();
            let rotated = store.rotate_key(key);
            *reader = Some(store.reader());
            // What has failed may have failed when the new key was the store's already.
            if store.is_opened_by(&parse_key(&new)?) {
                *lock(&shared.key) = Some(new);
            }
            Ok(rotated?)
        })
        .await
    }

    /// Closes the store for good. A slice that runs on it saves and ends first.
    ///
    /// # Errors
    /// [`NightgraftError::Internal`].
    pub(crate) async fn release(self: &Arc<Self>) -> Result<()> {
        let shared = self.clone();
        let release = move || {
            let waiter = shared.announce_waiter();
            *waiter.lock_slot() = StoreSlot::Released;
            *shared.lock_reader() = None;
            shared.changes.end();
            Ok(())
        };
        self.writer.run(release).await
    }

    /// One round of a slice: `work` gets the store and a flag that ends it, which is raised when somebody wants the
    /// store, or by [`interrupt`](Self::interrupt). It gives the store back, or not if that is lost to an error.
    ///
    /// `is_over` says whether the slice is to end: then the round is done, however it ended. A round that follows
    /// one that yielded (`has_yielded`) is left two seconds by calls that want the store.
    ///
    /// # Errors
    /// [`NightgraftError::Cancelled`] after [`release`](Self::release); whatever `work` returns.
    pub(crate) fn round<T>(
        &self,
        has_yielded: bool,
        is_over: impl Fn() -> bool,
        work: impl FnOnce(Store, &StopFlag) -> (Option<Store>, Result<T>),
    ) -> Result<RoundOutcome<T>> {
        let mut slot = lock(&self.slot);
        while self.waiting.load(Ordering::SeqCst) > 0 {
            slot = self.given_back.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        self.ensure_open(&mut slot)?;
        let StoreSlot::Open(store) = std::mem::replace(&mut *slot, StoreSlot::NeedsReopening) else {
            return Err(NightgraftError::Internal { reason: "the store is not there".into() });
        };
        let flag = StopFlag::new();
        *lock(&self.running) = Some(RunningRound::starting_at(Instant::now(), flag.clone(), has_yielded));
        // Whoever came before the flag was there has not raised it.
        if is_over() || self.waiting.load(Ordering::SeqCst) > 0 {
            flag.raise();
        }
        let (store, result) = work(*store, &flag);
        *lock(&self.running) = None;
        if let Some(store) = store {
            *slot = StoreSlot::Open(Box::new(store));
        }
        let result = result?;
        Ok(if flag.is_raised() && !is_over() {
            RoundOutcome::Yielded(result)
        } else {
            RoundOutcome::Done(result)
        })
    }

    /// Ends the round that is under way, if there is one.
    pub(crate) fn interrupt(&self) {
        if let Some(round) = &*lock(&self.running) {
            round.flag.raise();
        }
    }

    /// Returns the store, opened again if it has to be.
    fn ensure_open<'p>(&self, slot: &'p mut StoreSlot) -> Result<&'p mut Store> {
        if matches!(slot, StoreSlot::NeedsReopening) {
            let options = store_options(&self.settings, lock(&self.key).as_ref())?;
            let store = Store::open(&self.folder, options)?;
            *self.lock_reader() = Some(store.reader());
            *slot = StoreSlot::Open(Box::new(store));
        }
        match slot {
            StoreSlot::Open(store) => Ok(store),
            StoreSlot::NeedsReopening | StoreSlot::Released => Err(released_error()),
        }
    }

    /// Waits until nobody reads.
    fn lock_reader(&self) -> RwLockWriteGuard<'_, Option<StoreReader>> {
        self.reader.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the round under way may not be interrupted yet.
    fn wait_for_cooldown(&self) {
        let cooldown = lock(&self.running).as_ref().map(|round| round.cooldown(Instant::now()));
        std::thread::sleep(cooldown.unwrap_or_default());
    }

    /// Counts one more caller that wants the store, and ends the round under way.
    fn announce_waiter(&self) -> WaiterGuard<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.interrupt();
        WaiterGuard(self)
    }
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        self.changes.end();
    }
}

impl RunningRound {
    fn starting_at(now: Instant, flag: StopFlag, has_yielded: bool) -> Self {
        let cooldown = if has_yielded { YIELD_COOLDOWN } else { Duration::ZERO };
        Self { flag, left_alone_until: now + cooldown }
    }

    /// How long calls that want the store still wait.
    fn cooldown(&self, now: Instant) -> Duration {
        self.left_alone_until.saturating_duration_since(now)
    }
}

/// The right to be next; given back when dropped, by a panic too.
struct WaiterGuard<'a>(&'a SharedStore);

impl WaiterGuard<'_> {
    fn lock_slot(&self) -> MutexGuard<'_, StoreSlot> {
        lock(&self.0.slot)
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        // Under the lock: a slice that looks at the number either sees the new one or is waiting already.
        let slot = self.lock_slot();
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(slot);
        self.0.given_back.notify_all();
    }
}

fn released_error() -> NightgraftError {
    NightgraftError::cancelled("the store was released")
}

fn store_options(settings: &StoreSettings, key: Option<&Zeroizing<Vec<u8>>>) -> Result<StoreOptions> {
    Ok(StoreOptions {
        key: key.map(|bytes| parse_key(bytes)).transpose()?,
        quota: settings.quota,
        keep: settings.keep as usize,
        create: settings.create,
        seed: settings.seed,
        ..StoreOptions::default()
    })
}

fn parse_key(bytes: &[u8]) -> Result<Key> {
    let length = bytes.len();
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| NightgraftError::Unsupported {
        reason: format!("a key is 32 bytes long, not {length}"),
    })?;
    Ok(Key::new(bytes))
}

#[cfg(test)]
mod tests;
