package org.nightgraft

import java.time.Instant
import org.nightgraft.ffi.Graft as FfiGraft
import org.nightgraft.ffi.GraftStatus as FfiGraftStatus
import org.nightgraft.ffi.StoreSettings as FfiStoreSettings
import org.nightgraft.ffi.Verdict as FfiVerdict

/**
 * How a store is opened.
 *
 * @property key 32 bytes that encrypt everything in it; null for a store that is [unencrypted]
 * @property formerKey the key that [key] takes the place of, if there is one: a store that is still under it is opened with
 *   it, and its key changed. Given both, [AdapterStore.open] ends with the store under [key], wherever an earlier change was
 *   interrupted
 * @property quota the most bytes that it may take; null for no limit
 * @property keep how many grafts stay: the newest, besides the one in use
 * @property create whether it is made where there is none
 * @property seed makes the numbers of a new store's examples predictable, for tests
 */
public class StoreSettings
private constructor(
    public val quota: Long?,
    public val keep: Int,
    public val create: Boolean,
    public val seed: Long?,
    public val key: ByteArray?,
    public val formerKey: ByteArray?,
) {
    /**
     * A store that nobody reads without its key. On Android, [org.nightgraft.android.KeystoreKey] keeps one.
     *
     * @param key 32 bytes
     * @param formerKey the key that [key] takes the place of
     * @param quota the most bytes that it may take
     * @param keep how many grafts stay
     * @param create whether it is made where there is none
     * @param seed makes a new store predictable, for tests
     */
    public constructor(
        key: ByteArray,
        formerKey: ByteArray? = null,
        quota: Long? = null,
        keep: Int = 5,
        create: Boolean = true,
        seed: Long? = null,
    ) : this(quota, keep, create, seed, key, formerKey)

    /** Makes settings of stores without a key. */
    public companion object {
        /**
         * A store that anybody can read who gets at its files: with the phone unlocked in hand, in a backup, on a computer
         * that the phone was copied to. For made-up examples, and for what is public anyway.
         *
         * @param quota the most bytes that it may take
         * @param keep how many grafts stay
         * @param create whether it is made where there is none
         * @param seed makes a new store predictable, for tests
         */
        public fun unencrypted(
            quota: Long? = null,
            keep: Int = 5,
            create: Boolean = true,
            seed: Long? = null,
        ): StoreSettings = StoreSettings(quota, keep, create, seed, key = null, formerKey = null)
    }
}

/**
 * What became of an imported file.
 *
 * @property lines how many examples the file has
 * @property added how many of them are new
 * @property known how many the store had already
 * @property skipped how many were bad
 * @property ids the numbers of those that are new or known, in the file's order
 */
@ConsistentCopyVisibility
public data class ImportReport
internal constructor(
    val lines: Long,
    val added: Long,
    val known: Long,
    val skipped: Long,
    val ids: List<Long>,
)

/**
 * An example in the store.
 *
 * @property id its number, for [AdapterStore.delete]
 * @property added when it came in
 * @property json the example as a line of a `.jsonl` file
 * @property example the same, to be shown; null for one that came from a file in a shape that [Example] does not have
 */
@ConsistentCopyVisibility
public data class StoredExample
internal constructor(val id: Long, val added: Instant, val json: String, val example: Example?)

/**
 * What deleting examples did.
 *
 * @property deleted the numbers that were there, and are gone from every file
 * @property markedGrafts the grafts that learned from one of them: the next session starts from one that did not
 * @property sessionDropped whether the session under way had one of them and was given up
 */
@ConsistentCopyVisibility
public data class DeleteReport
internal constructor(val deleted: List<Long>, val markedGrafts: List<Long>, val sessionDropped: Boolean)

/**
 * What forgetting did.
 *
 * @property deleted the numbers of the examples that were there, and are gone from every file
 * @property deletedGrafts the grafts that are gone because they learned from one of them
 * @property current the graft in use now; null for the base itself
 * @property sessionDropped whether the session under way had one of them and was given up
 */
@ConsistentCopyVisibility
public data class ForgetReport
internal constructor(
    val deleted: List<Long>,
    val deletedGrafts: List<Long>,
    val current: Long?,
    val sessionDropped: Boolean,
)

/**
 * What wiping a store did. Paths begin at its folder.
 *
 * @property removed the files that are gone
 * @property left the files that were none of the store's; they stay, and the folder with them
 */
@ConsistentCopyVisibility
public data class DestroyReport internal constructor(val removed: List<String>, val left: List<String>)

/**
 * A trained version of the adapter.
 *
 * @property id its number
 * @property status what it is used for
 * @property bytes its size in the store
 * @property created when it was made; null if the device's clock was not set
 * @property parent the graft that its training started from; null for the base
 * @property examples how many examples it learned from
 * @property steps how many optimizer steps it took
 * @property tokens how many tokens it was trained on
 * @property verdict what the gate said of it
 * @property sawDeleted the numbers of examples that it learned from and that have been deleted since
 * @property problem what is wrong with its file, if it is damaged
 */
@ConsistentCopyVisibility
public data class Graft
internal constructor(
    val id: Long,
    val status: GraftStatus,
    val bytes: Long,
    val created: Instant?,
    val parent: Long?,
    val examples: Long,
    val steps: Long,
    val tokens: Long,
    val verdict: Verdict?,
    val sawDeleted: List<Long>,
    val problem: String?,
)

/** What a graft is used for. */
public enum class GraftStatus {
    /** It is in use. */
    CURRENT,

    /** It was in use; [AdapterStore.rollback] goes back to the last such one. */
    FORMER,

    /** The gate let it pass, and it has not been in use. */
    CANDIDATE,

    /** The gate refused it. */
    REFUSED,

    /** Its file is damaged. */
    DAMAGED,
}

/**
 * What the gate says of a candidate. Losses are in nats per token, "before" those of the base or of the graft in use,
 * "after" those of the candidate; less is better.
 *
 * @property promote whether it may come into use
 * @property refusals why not
 * @property heldOutBefore the loss on examples that were kept aside, before
 * @property heldOutAfter the same with the candidate
 * @property retentionBefore the loss on general texts, before
 * @property retentionAfter the same with the candidate
 * @property text the verdict in words
 */
@ConsistentCopyVisibility
public data class Verdict
internal constructor(
    val promote: Boolean,
    val refusals: List<Refusal>,
    val heldOutBefore: Double?,
    val heldOutAfter: Double?,
    val retentionBefore: Double?,
    val retentionAfter: Double?,
    val text: String,
)

/** How an adapter is written. */
public enum class GraftFormat {
    /** A folder that Hugging Face PEFT reads. */
    PEFT,

    /** A file that llama.cpp reads. */
    GGUF,
}

/**
 * A damaged file of a store.
 *
 * @property path the file, below the store's folder
 * @property problem what is wrong with it
 */
@ConsistentCopyVisibility
public data class Damage internal constructor(val path: String, val problem: String)

internal fun StoreSettings.toFfi() = checkedSettings {
    FfiStoreSettings(
        key = key,
        formerKey = formerKey,
        quota = quota?.unsigned("quota"),
        keep = keep.unsigned("keep"),
        create = create,
        seed = seed?.toULong(),
    )
}

internal fun FfiGraft.toPublic() =
    Graft(
        id = id.toLong(),
        status = status.toPublic(),
        bytes = bytes.toLong(),
        created = created?.let(Instant::ofEpochSecond),
        parent = parent?.toLong(),
        examples = examples.toLong(),
        steps = steps.toLong(),
        tokens = tokens.toLong(),
        verdict = verdict?.toPublic(),
        sawDeleted = sawDeleted.map { it.toLong() },
        problem = problem,
    )

private fun FfiGraftStatus.toPublic() =
    when (this) {
        FfiGraftStatus.CURRENT -> GraftStatus.CURRENT
        FfiGraftStatus.FORMER -> GraftStatus.FORMER
        FfiGraftStatus.CANDIDATE -> GraftStatus.CANDIDATE
        FfiGraftStatus.REFUSED -> GraftStatus.REFUSED
        FfiGraftStatus.DAMAGED -> GraftStatus.DAMAGED
    }

internal fun FfiVerdict.toPublic() =
    Verdict(
        promote = promote,
        refusals = refusals.map { it.toPublic() },
        heldOutBefore = heldOutBefore,
        heldOutAfter = heldOutAfter,
        retentionBefore = retentionBefore,
        retentionAfter = retentionAfter,
        text = text,
    )
