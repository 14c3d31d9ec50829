package org.nightgraft

import java.time.Instant
import org.nightgraft.ffi.Graft as FfiGraft
import org.nightgraft.ffi.GraftStatus as FfiGraftStatus
import org.nightgraft.ffi.StoreSettings as FfiStoreSettings
import org.nightgraft.ffi.Verdict as FfiVerdict

/**
 * How a store is opened.
 *
 * @property key 32 bytes that encrypt everything in it; null for a store without encryption. On Android,
 *   [org.nightgraft.android.KeystoreKey] keeps one.
 * @property quota the most bytes that it may take; null for no limit
 * @property keep how many grafts stay: the newest, besides the one in use
 * @property create whether it is made where there is none
 * @property seed makes the numbers of a new store's examples predictable, for tests
 */
public class StoreSettings(
    public val key: ByteArray? = null,
    public val quota: Long? = null,
    public val keep: Int = 5,
    public val create: Boolean = true,
    public val seed: Long? = null,
)

/**
 * What became of an imported file.
 *
 * @property lines how many examples the file has
 * @property added how many of them are new
 * @property known how many the store had already
 * @property skipped how many were bad
 * @property ids the numbers of those that are new or known, in the file's order
 */
public data class ImportReport(
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
 */
public data class StoredExample(val id: Long, val added: Instant, val json: String)

/**
 * What deleting examples did.
 *
 * @property deleted the numbers that were there, and are gone from every file
 * @property markedGrafts the grafts that learned from one of them: the next session starts from one that did not
 * @property sessionDropped whether the session under way had one of them and was given up
 */
public data class DeleteReport(val deleted: List<Long>, val markedGrafts: List<Long>, val sessionDropped: Boolean)

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
public data class Graft(
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
 * @property refusals why not, a sentence for each reason
 * @property heldOutBefore the loss on examples that were kept aside, before
 * @property heldOutAfter the same with the candidate
 * @property retentionBefore the loss on general texts, before
 * @property retentionAfter the same with the candidate
 * @property text the verdict in words
 */
public data class Verdict(
    val promote: Boolean,
    val refusals: List<String>,
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
public data class Damage(val path: String, val problem: String)

internal fun StoreSettings.toFfi() = checkedSettings {
    FfiStoreSettings(
        key = key,
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
        refusals = refusals,
        heldOutBefore = heldOutBefore,
        heldOutAfter = heldOutAfter,
        retentionBefore = retentionBefore,
        retentionAfter = retentionAfter,
        text = text,
    )
