package org.nightgraft

import org.nightgraft.ffi.NothingToDoReason as FfiNothingToDoReason
import org.nightgraft.ffi.PauseReason as FfiPauseReason
import org.nightgraft.ffi.SessionReport as FfiSessionReport
import org.nightgraft.ffi.SliceOutcome as FfiSliceOutcome

/** How a slice ended. In each case everything is saved. */
public sealed interface SliceOutcome {
    /**
     * There is more to do: the next slice goes on.
     *
     * @property reason why it ended
     */
    public data class Paused(val reason: PauseReason) : SliceOutcome

    /**
     * The session is over, and its result is judged.
     *
     * @property report what came of it
     */
    public data class Finished(val report: SessionReport) : SliceOutcome

    /**
     * The store has nothing new to learn, or too little.
     *
     * @property reason why nothing is trained
     * @property text the same as a sentence in English
     */
    public data class NothingToDo(val reason: NothingToDoReason, val text: String) : SliceOutcome
}

/** Why nothing is trained. */
public sealed interface NothingToDoReason {
    /** The store has no examples. */
    public data object NoExamples : NothingToDoReason

    /** The graft in use has learned from every example that is not kept aside. */
    public data object EverythingLearned : NothingToDoReason

    /**
     * Some examples have to be kept aside for the judgement, and the others are not worth a training. A long text counts once
     * for each piece that the context holds, and an example that the model cannot use not at all.
     *
     * @property have how many examples there are
     * @property need how many there must be: with the defaults 16 in a new store
     */
    public data class TooFew(val have: Long, val need: Long) : NothingToDoReason

    /**
     * The same examples with the same settings were learned before, and the gate refused the result.
     *
     * @property graft the number of that result
     */
    public data class RefusedBefore(val graft: Long) : NothingToDoReason

    /**
     * The same examples with the same settings were learned before, and the result is not in use.
     *
     * @property graft the number of that result
     */
    public data class NotInUse(val graft: Long) : NothingToDoReason

    /** The same examples with the same settings were tried before, and the training diverged. */
    public data object DivergedBefore : NothingToDoReason

    /**
     * An earlier graft came into use again: it has seen every example but the deleted ones.
     *
     * @property graft its number
     */
    public data class InUseAgain(val graft: Long) : NothingToDoReason
}

/** Why a slice ended before the session was over. */
public sealed interface PauseReason {
    /** Somebody stopped it. */
    public data object Stopped : PauseReason

    /** Its time was over. */
    public data object Deadline : PauseReason

    /**
     * The device is not ready.
     *
     * @property waiting what for
     */
    public data class Policy(val waiting: Waiting) : PauseReason
}

/**
 * What came of a session.
 *
 * @property trained how many new examples it learned from
 * @property replayed how many old ones it learned again
 * @property heldOut how many were kept aside for the judgement
 * @property steps the optimizer steps
 * @property tokens the tokens that it was trained on
 * @property stoppedEarly whether it ended early, because the loss on what was kept aside did not fall any more
 * @property devices what computed the steps, one after the other: names of GPUs with their arithmetic, or the processor with
 *   its instructions
 * @property graft the number of the graft that it made
 * @property promoted whether that graft is in use now
 * @property verdict what the gate said of it
 */
@ConsistentCopyVisibility
public data class SessionReport
internal constructor(
    val trained: Long,
    val replayed: Long,
    val heldOut: Long,
    val steps: Long,
    val tokens: Long,
    val stoppedEarly: Boolean,
    val devices: List<String>,
    val graft: Long?,
    val promoted: Boolean,
    val verdict: Verdict,
) {
    /** Makes reports for tests. */
    public companion object {
        /** A report of no session: its graft is promoted, unless there is none or there are [refusals]. */
        @ForTests
        public fun of(
            graft: Long? = 1,
            trained: Long = 12,
            heldOut: Long = 4,
            steps: Long = 6,
            refusals: List<RefusalKind> = emptyList(),
        ): SessionReport {
            val isPromoted = graft != null && refusals.isEmpty()
            val verdict =
                Verdict(
                    promote = isPromoted,
                    refusals = refusals.map { Refusal(it, "$it") },
                    heldOutBefore = null,
                    heldOutAfter = null,
                    retentionBefore = null,
                    retentionAfter = null,
                    text = if (isPromoted) "promoted" else "not promoted",
                )
            return SessionReport(
                trained = trained,
                replayed = 0,
                heldOut = heldOut,
                steps = steps,
                tokens = 0,
                stoppedEarly = false,
                devices = emptyList(),
                graft = graft,
                promoted = isPromoted,
                verdict = verdict,
            )
        }
    }
}

internal fun FfiSliceOutcome.toPublic(): SliceOutcome =
    when (this) {
        is FfiSliceOutcome.Paused -> SliceOutcome.Paused(reason.toPublic())
        is FfiSliceOutcome.Finished -> SliceOutcome.Finished(report.toPublic())
        is FfiSliceOutcome.NothingToDo -> SliceOutcome.NothingToDo(reason.toPublic(), text)
    }

internal fun FfiNothingToDoReason.toPublic(): NothingToDoReason =
    when (this) {
        is FfiNothingToDoReason.NoExamples -> NothingToDoReason.NoExamples
        is FfiNothingToDoReason.EverythingLearned -> NothingToDoReason.EverythingLearned
        is FfiNothingToDoReason.TooFew -> NothingToDoReason.TooFew(have.toLong(), need.toLong())
        is FfiNothingToDoReason.RefusedBefore -> NothingToDoReason.RefusedBefore(graft.toLong())
        is FfiNothingToDoReason.NotInUse -> NothingToDoReason.NotInUse(graft.toLong())
        is FfiNothingToDoReason.DivergedBefore -> NothingToDoReason.DivergedBefore
        is FfiNothingToDoReason.InUseAgain -> NothingToDoReason.InUseAgain(graft.toLong())
    }

private fun FfiPauseReason.toPublic(): PauseReason =
    when (this) {
        is FfiPauseReason.Stopped -> PauseReason.Stopped
        is FfiPauseReason.Deadline -> PauseReason.Deadline
        is FfiPauseReason.Policy -> PauseReason.Policy(waiting.toPublic())
    }

internal fun FfiSessionReport.toPublic() =
    SessionReport(
        trained = trained.toLong(),
        replayed = replayed.toLong(),
        heldOut = heldOut.toLong(),
        steps = steps.toLong(),
        tokens = tokens.toLong(),
        stoppedEarly = stoppedEarly,
        devices = devices,
        graft = graft?.toLong(),
        promoted = promoted,
        verdict = verdict.toPublic(),
    )
