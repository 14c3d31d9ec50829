package org.nightgraft

import java.time.Instant
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import org.nightgraft.ffi.AdapterStore as FfiStore
import org.nightgraft.ffi.GraftFormat as FfiGraftFormat
import org.nightgraft.ffi.destroyStore

/**
 * A folder with everything that lasts longer than one run: the examples, the training under way, the trained versions of
 * the adapter (grafts), and which of them is in use.
 *
 * One process has a store open at a time, once. All functions may be called from any thread, also while a session runs:
 * those that only read do not disturb it, and for one that changes the store it pauses for a moment, saved, and goes on.
 * Whatever a killed process left half done, opening it tidies up. After [close] every call fails with [NightgraftException.Cancelled].
 */
public class AdapterStore private constructor(internal val ffi: FfiStore) : SuspendCloseable {
    /**
     * Puts [examples] into the store, all or none of them, and returns their numbers. An example that is there already
     * keeps its number.
     *
     * @throws NightgraftException.InvalidData if one has no text to learn
     * @throws NightgraftException.StorageFull if the disk is full or the quota reached
     */
    public suspend fun add(examples: List<Example>): List<Long> =
        native { ffi.add(examples.map { it.toFfi() }) }.map { it.toLong() }

    /**
     * Puts the examples of a `.jsonl` file, or the paragraphs of a `.txt` file, into the store.
     *
     * @param path the file
     * @param skipBad whether bad lines are counted and passed over; otherwise the first one fails the import
     * @throws NightgraftException.InvalidData with the line that is bad, or if the file cannot be read
     * @throws NightgraftException.StorageFull if the disk is full or the quota reached
     */
    public suspend fun importFile(path: String, skipBad: Boolean = false): ImportReport =
        native { ffi.importFile(path, skipBad) }.let { report ->
            ImportReport(
                lines = report.lines.toLong(),
                added = report.added.toLong(),
                known = report.known.toLong(),
                skipped = report.skipped.toLong(),
                ids = report.ids.map { it.toLong() },
            )
        }

    /** All examples, the oldest first. */
    public suspend fun examples(): List<StoredExample> =
        native { ffi.examples() }.map {
            StoredExample(it.id.toLong(), Instant.ofEpochSecond(it.added), it.json, it.example?.toPublic())
        }

    /**
     * Takes examples out of every file of the store. Grafts that learned from them are marked, not changed: what a graft
     * has learned stays in it until a later session, which starts from one that did not see them, has taken its place.
     *
     * @param ids their numbers; those that are not there are passed over
     * @throws NightgraftException.StorageFull if there is no room to write the journal anew
     */
    public suspend fun delete(ids: List<Long>): DeleteReport =
        native { ffi.delete(ids.map { it.toULong() }) }.let { report ->
            DeleteReport(
                deleted = report.deleted.map { it.toLong() },
                markedGrafts = report.markedGrafts.map { it.toLong() },
                sessionDropped = report.sessionDropped,
            )
        }

    /**
     * Takes examples out of every file of the store, and everything that was learned from them: from here on the graft that
     * was in use last and never saw them is in use, or the base, and the grafts that saw them are deleted. Call
     * [Generator.useCurrent] afterwards, because a generator goes on with the graft that it has, and schedule a session: it
     * learns what is left.
     *
     * The examples are the last to go. After an exception or a crash, forget those that [examples] still lists again.
     *
     * @param ids their numbers; those of examples that were deleted before may be among them
     * @throws NightgraftException.StorageFull if there is no room to write the journal anew
     */
    public suspend fun forget(ids: List<Long>): ForgetReport =
        native { ffi.forget(ids.map { it.toULong() }) }.let { report ->
            ForgetReport(
                deleted = report.deleted.map { it.toLong() },
                deletedGrafts = report.deletedGrafts.map { it.toLong() },
                current = report.current?.toLong(),
                sessionDropped = report.sessionDropped,
            )
        }

    /**
     * Writes all examples to a `.jsonl` file, which [importFile] reads, and returns how many there are. The file is whole or
     * not there, and it is not encrypted.
     *
     * @param to the file, outside of the store's folder
     * @throws NightgraftException.Unsupported if it cannot be there
     * @throws NightgraftException.StorageFull if the disk is full
     */
    public suspend fun exportExamples(to: String): Long = native { ffi.exportExamples(to) }.toLong()

    /** All grafts, the oldest first. */
    public suspend fun grafts(): List<Graft> = native { ffi.grafts() }.map { it.toPublic() }

    /** The number of the graft in use; null for the base itself. */
    public suspend fun current(): Long? = native { ffi.current() }?.toLong()

    /**
     * Emits when the store is to be read again: at once, and after every change of examples, grafts, which of them is in use,
     * or nights. Changes that come while a collector is busy are told as one. It ends when the store is closed.
     */
    public val changes: Flow<Unit> = flow {
        native { ffi.changes() }.use { changes -> while (native { changes.next() }) emit(Unit) }
    }

    /**
     * What became of the nights on this store, the oldest first: when each was, what it waited for, what it did. The latest
     * hundred are kept. The last one may be going on.
     */
    public suspend fun nights(): List<NightRecord> = native { ffi.nights() }.map { it.toPublic() }

    /** Enters why the system stopped the last night, whose session is released. Nothing is changed if that ended otherwise. */
    internal suspend fun noteInterruption(reason: Interruption): Unit = native { ffi.noteInterruption(reason.toFfi()) }

    /**
     * Takes a graft into use.
     *
     * @throws NightgraftException.Unsupported if the gate refused it, or there is none with this number; the message says
     *   which
     */
    public suspend fun promote(id: Long): Unit = native { ffi.promote(id.toULong()) }

    /**
     * Takes a graft into use, whatever the gate said of it.
     *
     * @throws NightgraftException.Unsupported if there is no such graft
     */
    public suspend fun promoteAnyway(id: Long): Unit = native { ffi.promoteAnyway(id.toULong()) }

    /** Goes back to the graft that was in use before, and returns its number; null for the base itself. */
    public suspend fun rollback(): Long? = native { ffi.rollback() }?.toLong()

    /**
     * Removes a graft.
     *
     * @throws NightgraftException.Unsupported if it is in use, or there is none with this number
     */
    public suspend fun deleteGraft(id: Long): Unit = native { ffi.deleteGraft(id.toULong()) }

    /**
     * Writes a graft for other programs, whole or not at all. The copy is not encrypted.
     *
     * @param id its number
     * @param format how it is written
     * @param model the model that it was trained on
     * @param to the folder ([GraftFormat.PEFT]) or file ([GraftFormat.GGUF]) to make
     * @throws NightgraftException.Unsupported if there is no such graft, or it belongs to another model
     */
    public suspend fun export(id: Long, format: GraftFormat, model: BaseModel, to: String): Unit = native {
        val ffiFormat =
            when (format) {
                GraftFormat.PEFT -> FfiGraftFormat.PEFT
                GraftFormat.GGUF -> FfiGraftFormat.GGUF
            }
        ffi.export(id.toULong(), ffiFormat, model.ffi, to)
    }

    /**
     * Writes the whole store anew under another key. Keep both keys until this returns: if the app is killed meanwhile, open
     * the store with both ([StoreSettings.formerKey]), and the change is finished.
     *
     * @param newKey 32 bytes
     * @throws NightgraftException.Unsupported if the store is not encrypted
     */
    public suspend fun rotateKey(newKey: ByteArray): Unit = native { ffi.rotateKey(newKey) }

    /** Reads every file and lists those that are damaged. */
    public suspend fun verify(): List<Damage> = native { ffi.verify() }.map { Damage(it.path, it.problem) }

    /** The bytes that the store takes on disk. */
    public suspend fun bytesUsed(): Long = native { ffi.bytesUsed() }.toLong()

    /** As [close], without blocking a thread: [useSuspending] calls it. */
    override suspend fun release(): Unit = ffi.closeSuspending { ffi.release() }

    /**
     * Closes the store, so that it can be opened again at once. A session on it is stopped and saved first: this blocks
     * the thread for about a quarter of a second then. A second call does nothing.
     */
    override fun close(): Unit = ffi.closeBlocking { ffi.release() }

    /** Opens stores. */
    public companion object {
        /**
         * Opens the store in [folder].
         *
         * @throws NightgraftException.StoreLocked if it is open already
         * @throws NightgraftException.WrongKey if the key in [settings] is not the store's, or one is needed and
         *   none is given
         * @throws NightgraftException.Corrupted if what it cannot do without is damaged
         * @throws NightgraftException.Unsupported if there is none and [StoreSettings.create] is false, or it is
         *   not encrypted and a key is given
         * @throws NightgraftException.StorageFull if its key is to be changed and there is no room to write it anew
         */
        public suspend fun open(folder: String, settings: StoreSettings): AdapterStore {
            val ffiSettings = settings.toFfi()
            return AdapterStore(native { FfiStore.open(folder, ffiSettings) })
        }

        /**
         * Wipes the store in [folder], which needs no key: what its keys are wrapped in first, then every other file, then the
         * folder itself. One that is empty or not there has nothing to wipe. If the app is killed meanwhile the store does not
         * open any more, and a second call goes on. The app's own key is deleted where it is kept, such as by
         * [org.nightgraft.android.KeystoreKey.reset].
         *
         * @throws NightgraftException.Unsupported if the folder is not a store's; nothing in it is touched then
         * @throws NightgraftException.StoreLocked if it is open
         */
        public suspend fun destroy(folder: String): DestroyReport =
            native { destroyStore(folder) }.let { DestroyReport(it.removed, it.left) }
    }
}
