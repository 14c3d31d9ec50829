//! What a device keeps: examples, and the versions of the adapter.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_core::session::{self, export_graft, night};
use nightgraft_store::{self as store, Error as StoreError, ExampleId, GraftId, Store, StoreReader};

use crate::error::{NightgraftError, Result, one_line};
use crate::example::Example;
use crate::executor::READING_EXECUTOR;
use crate::graft::{Graft, GraftFormat};
use crate::model::BaseModel;
use crate::night_log::{Interruption, NightRecord};
use crate::settings::StoreSettings;
use crate::shared_store::SharedStore;
use crate::store_changes::StoreChanges;

/// A folder with a person's examples, the grafts made from them and the session under way.
///
/// One handle of one process has it open at a time. Reading goes on beside a slice that runs on it; a change makes the slice
/// pause for a moment. All calls fail with [`NightgraftError::Cancelled`] after [`AdapterStore::release`], with
/// [`NightgraftError::Corrupted`] when they meet a damaged file, and with [`NightgraftError::StorageFull`] when there
/// is no room for what they write; nothing is half done then.
#[derive(uniffi::Object)]
pub struct AdapterStore {
    shared: Arc<SharedStore>,
}

/// What the reading of a file came to.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ImportReport {
    /// Lines with an example, good or bad.
    pub lines: u64,
    /// Examples that were new.
    pub added: u64,
    /// Examples that were there already.
    pub known: u64,
    /// Bad lines that were left out.
    pub skipped: u64,
    /// The numbers of the good ones, in order.
    pub ids: Vec<u64>,
}

/// An example in the store.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct StoredExample {
    /// Its number; none is ever given twice.
    pub id: u64,
    /// When it was added, in seconds since 1970.
    pub added: i64,
    /// The example as JSON: `{"messages"}`, `{"prompt", "completion"}` or `{"text"}`.
    pub json: String,
    /// The same, to be shown; none for one that came from a file in another shape.
    pub example: Option<Example>,
}

/// What a deletion did.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct DeleteReport {
    /// The examples that are gone.
    pub deleted: Vec<u64>,
    /// Grafts that have learned from one of them. They stay until they are deleted too, or a session replaces them.
    pub marked_grafts: Vec<u64>,
    /// Whether the session under way had learned from one, and was dropped.
    pub session_dropped: bool,
}

/// What forgetting did.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ForgetReport {
    /// The examples that are gone.
    pub deleted: Vec<u64>,
    /// Grafts that are gone because they had learned from one of them.
    pub deleted_grafts: Vec<u64>,
    /// The graft in use now; none for the base itself.
    pub current: Option<u64>,
    /// Whether the session under way had learned from one, and was dropped.
    pub session_dropped: bool,
}

/// What wiping a store did. Paths begin at its folder.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct DestroyReport {
    /// The files that are gone.
    pub removed: Vec<String>,
    /// The files that were none of the store's; they stay, and the folder with them.
    pub left: Vec<String>,
}

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Damage {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

#[uniffi::export]
impl AdapterStore {
    /// Opens the store in `folder`, or begins one there; finishes what a crash has interrupted.
    ///
    /// # Errors
    /// [`NightgraftError::StoreLocked`]; [`NightgraftError::WrongKey`] if another key is needed, or any key at all;
    /// [`NightgraftError::Corrupted`]; [`NightgraftError::Unsupported`] if a key is needless or not 32 bytes long, if
    /// there is no store and none is to be made, or if the folder holds something else.
    #[uniffi::constructor]
    pub async fn open(folder: String, settings: StoreSettings) -> Result<Arc<Self>> {
        READING_EXECUTOR
            .run(move || {
                Ok(Arc::new(Self { shared: Arc::new(SharedStore::open(PathBuf::from(folder), settings)?) }))
            })
            .await
    }

    /// Adds examples, all or none. Returns their numbers; one that is there already keeps its own.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidData`] names the first that cannot be learned, counted from 1.
    pub async fn add(&self, examples: Vec<Example>) -> Result<Vec<u64>> {
        self.shared.write(move |store| add(store, &examples)).await
    }

    /// Adds the examples of a `.jsonl` file, one a line, or a whole `.txt` file as one; all or none.
    ///
    /// # Errors
    /// [`NightgraftError::InvalidData`] with the line that is bad, unless bad ones are skipped.
    pub async fn import_file(&self, path: String, skip_bad: bool) -> Result<ImportReport> {
        let import = move |store: &mut Store| {
            let read = store.import(Path::new(&path), None, skip_bad);
            let read = read.map_err(|error| match error {
                // It may be the store's own disk that has failed.
                StoreError::Io(ref failed) if failed.path == Path::new(&path) => {
                    NightgraftError::InvalidData { reason: one_line(&error) }
                }
                error => error.into(),
            })?;
            let store::ImportReport { lines, added, known, skipped, ids } = read;
            Ok(ImportReport { lines, added, known, skipped, ids: numbers(ids) })
        };
        self.shared.write(import).await
    }

    /// The examples that were not deleted, oldest first.
    pub async fn examples(&self) -> Result<Vec<StoredExample>> {
        self.read(|store| {
            let examples = store.examples().iter();
            let shown = |stored: &store::StoredExample| StoredExample {
                id: stored.id.0,
                added: stored.added,
                json: stored.line.clone(),
                example: Example::from_json_line(&stored.line),
            };
            Ok(examples.map(shown).collect())
        })
        .await
    }

    /// Deletes examples; their text is then in no file of the store. Numbers that are not there are passed over.
    pub async fn delete(&self, ids: Vec<u64>) -> Result<DeleteReport> {
        let delete = move |store: &mut Store| {
            let ids: Vec<_> = ids.into_iter().map(ExampleId).collect();
            let store::DeleteReport { deleted, marked_grafts, session_dropped } = store.delete(&ids)?;
            let marked_grafts = marked_grafts.into_iter().map(|id| id.0).collect();
            Ok(DeleteReport { deleted: numbers(deleted), marked_grafts, session_dropped })
        };
        self.shared.write(delete).await
    }

    /// Deletes examples, and everything that was learned from them: from here on the graft that was in use last and never
    /// saw them is in use, or the base. A [`Generator`](crate::Generator) that is open goes on with the graft that it was
    /// given: call [`use_current`](crate::Generator::use_current). The next session learns what is left, so that one should
    /// be scheduled. Examples that were deleted before may be among them; numbers that were never given are passed over.
    ///
    /// The examples are the last to go: after a failure or a crash those that are still there are to be forgotten again.
    pub async fn forget(&self, ids: Vec<u64>) -> Result<ForgetReport> {
        let forget = move |store: &mut Store| {
            let ids: Vec<_> = ids.into_iter().map(ExampleId).collect();
            let store::ForgetReport { deleted, deleted_grafts, current, session_dropped } =
                store.forget(&ids)?;
            Ok(ForgetReport {
                deleted: numbers(deleted),
                deleted_grafts: deleted_grafts.into_iter().map(|id| id.0).collect(),
                current: current.map(|id| id.0),
                session_dropped,
            })
        };
        self.shared.write(forget).await
    }

    /// Writes all examples to a `.jsonl` file, unencrypted, as [`AdapterStore::import_file`] reads them; whole or not at
    /// all, in place of a former file. Returns how many there are.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] for a file in the store's own folder, or one that cannot be made.
    pub async fn export_examples(&self, to: String) -> Result<u64> {
        self.read(move |store| Ok(store.export_examples(Path::new(&to))?)).await
    }

    /// All grafts, oldest first, damaged ones too.
    pub async fn grafts(&self) -> Result<Vec<Graft>> {
        self.read(|store| Ok(store.grafts()?.into_iter().map(Graft::from).collect())).await
    }

    /// The graft in use; none for the base itself.
    pub async fn current(&self) -> Result<Option<u64>> {
        self.read(|store| Ok(store.current()?.map(|id| id.0))).await
    }

    /// What became of the nights on this store, oldest first: the latest hundred. The last one may be going on.
    pub async fn nights(&self) -> Result<Vec<NightRecord>> {
        self.read(|store| Ok(night::nights(store)?.into_iter().map(NightRecord::from).collect())).await
    }

    /// Enters why the device's system stopped the last night, which the app hears and the session does not. To be called once the
    /// session is released; it changes nothing if that night has ended otherwise.
    pub async fn note_interruption(&self, reason: Interruption) -> Result<()> {
        self.shared.write(move |store| Ok(night::note_interruption(store, reason.into())?)).await
    }

    /// Tells when to read the store again.
    pub fn changes(&self) -> Arc<StoreChanges> {
        Arc::new(StoreChanges::new(self.shared.changes().clone()))
    }

    /// Takes a graft into use. A session does so itself when the gate lets its result pass.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if it is not there, was refused by the gate, or is of another base.
    pub async fn promote(&self, id: u64) -> Result<()> {
        self.shared.write(move |store| Ok(store.promote(GraftId(id))?)).await
    }

    /// Takes a graft into use even if the gate has refused it.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if it is not there or of another base.
    pub async fn promote_anyway(&self, id: u64) -> Result<()> {
        self.shared.write(move |store| Ok(store.promote_anyway(GraftId(id))?)).await
    }

    /// Goes back to the graft that was in use before this one. Returns it; none for the base itself.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if none is in use.
    pub async fn rollback(&self) -> Result<Option<u64>> {
        self.shared.write(|store| Ok(store.rollback()?.map(|id| id.0))).await
    }

    /// Deletes a graft.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if it is not there or in use.
    pub async fn delete_graft(&self, id: u64) -> Result<()> {
        self.shared.write(move |store| Ok(store.delete_graft(GraftId(id))?)).await
    }

    /// Writes a graft, unencrypted, in a form that other programs read. `model` is the base that it was trained on.
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if it is not there or of another base.
    pub async fn export(
        &self,
        id: u64,
        format: GraftFormat,
        model: Arc<BaseModel>,
        to: String,
    ) -> Result<()> {
        let format = match format {
            GraftFormat::Peft => session::GraftFormat::Peft,
            GraftFormat::Gguf => session::GraftFormat::Gguf,
        };
        self.read(move |store| Ok(export_graft(store, GraftId(id), format, model.path(), Path::new(&to))?))
            .await
    }

    /// Changes the key of an encrypted store: every file is written again. Keep both keys until this has returned;
    /// after a crash in between open the store with both: [`StoreSettings::former_key`].
    ///
    /// # Errors
    /// [`NightgraftError::Unsupported`] if the store is not encrypted or the key is not 32 bytes long.
    pub async fn rotate_key(&self, new_key: Vec<u8>) -> Result<()> {
        self.shared.rotate_key(new_key).await
    }

    /// Reads every file to its end and returns those that are damaged.
    pub async fn verify(&self) -> Result<Vec<Damage>> {
        if let Ok(true) = self.read(|store| Ok(store.verify()?.is_valid())).await {
            return Ok(Vec::new());
        }
        // A slice may have replaced a file while it was read: what is wrong shows when none runs.
        let verify = |store: &mut Store| {
            let damaged = store.verify()?.damaged.into_iter();
            let words = |d: store::Damage| Damage {
                path: d.path.display().to_string(),
                problem: d.problem.to_string(),
            };
            Ok(damaged.map(words).collect())
        };
        self.shared.write(verify).await
    }

    /// Bytes of all its files.
    pub async fn bytes_used(&self) -> Result<u64> {
        self.read(|store| Ok(store.bytes_used()?)).await
    }

    /// Closes the store now, whoever still has a handle: others can open it. A slice that runs on it saves and ends.
    pub async fn release(&self) -> Result<()> {
        self.shared.release().await
    }
}

/// Wipes the store in `folder`, for which no key is needed: what its keys are wrapped in first, then every other file, then
/// the folder itself. A folder that is empty or not there has nothing to wipe. After a crash the store does not open, and
/// calling this again goes on. The app's own key is the app's to delete.
///
/// # Errors
/// [`NightgraftError::Unsupported`] if the folder is not a store's, and then nothing in it is touched;
/// [`NightgraftError::StoreLocked`] if it is open.
#[uniffi::export]
pub async fn destroy_store(folder: String) -> Result<DestroyReport> {
    READING_EXECUTOR
        .run(move || {
            let store::DestroyReport { removed, left } = Store::destroy(Path::new(&folder))?;
            let shown = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect();
            Ok(DestroyReport { removed: shown(removed), left: shown(left) })
        })
        .await
}

impl AdapterStore {
    pub(crate) fn shared(&self) -> &Arc<SharedStore> {
        &self.shared
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&StoreReader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        READING_EXECUTOR.run(move || shared.read(job)).await
    }
}

/// Adds examples, all or none.
pub(crate) fn add(store: &mut Store, examples: &[Example]) -> Result<Vec<u64>> {
    let lines: Vec<_> = examples.iter().map(Example::to_json_line).collect();
    Ok(numbers(store.add(&lines)?))
}

fn numbers(ids: Vec<ExampleId>) -> Vec<u64> {
    ids.into_iter().map(|id| id.0).collect()
}
