package org.nightgraft

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
     * @property reason which of the two, in words
     */
    public data class NothingToDo(val reason: String) : SliceOutcome
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
 * @property graft the number of the graft that it made
 * @property promoted whether that graft is in use now
 * @property verdict what the gate said of it
 */
public data class SessionReport(
    val trained: Long,
    val replayed: Long,
    val heldOut: Long,
    val steps: Long,
    val tokens: Long,
    val stoppedEarly: Boolean,
    val graft: Long?,
    val promoted: Boolean,
    val verdict: Verdict,
)

internal fun FfiSliceOutcome.toPublic(): SliceOutcome =
    when (this) {
        is FfiSliceOutcome.Paused -> SliceOutcome.Paused(reason.toPublic())
        is FfiSliceOutcome.Finished -> SliceOutcome.Finished(report.toPublic())
        is FfiSliceOutcome.NothingToDo -> SliceOutcome.NothingToDo(reason)
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
        graft = graft?.toLong(),
        promoted = promoted,
        verdict = verdict.toPublic(),
    )
