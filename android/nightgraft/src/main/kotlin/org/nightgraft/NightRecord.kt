package org.nightgraft

import java.time.Instant
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import org.nightgraft.ffi.Interruption as FfiInterruption
import org.nightgraft.ffi.NightEnd as FfiNightEnd
import org.nightgraft.ffi.NightRecord as FfiNightRecord

/**
 * What became of one night, as [AdapterStore.nights] tells: of one call of [PersonalizationSession.runNight].
 *
 * @property began when it began, by the device's clock
 * @property duration the time from then until the record was last written
 * @property running how long it worked meanwhile, rests of a warm device included
 * @property waits what it waited for, each kind once, in the order in which it came up
 * @property steps the optimizer steps that were made
 * @property end how it ended; null while it goes on, and of one whose process was killed
 */
@ConsistentCopyVisibility
public data class NightRecord
internal constructor(
    val began: Instant,
    val duration: Duration,
    val running: Duration,
    val waits: List<NightWait>,
    val steps: Long,
    val end: NightEnd?,
)

/**
 * For how long a night waited for something.
 *
 * @property kind for what; [WaitKind.TOO_WARM] and [WaitKind.IN_USE] also stand for the time shortly after
 * @property duration how long, all such waits together
 */
@ConsistentCopyVisibility
public data class NightWait internal constructor(val kind: WaitKind, val duration: Duration)

/** How a night ended. */
public sealed interface NightEnd {
    /** Its time was over, and the training goes on with the next. */
    public data object GoesOn : NightEnd

    /**
     * It was stopped.
     *
     * @property by why the system did so; null if it was the app
     */
    public data class Stopped(val by: Interruption?) : NightEnd

    /**
     * There was nothing to train.
     *
     * @property reason why
     */
    public data class NothingToDo(val reason: NothingToDoReason) : NightEnd

    /**
     * The session is over, and its result is judged.
     *
     * @property graft the number of the new graft; null if the training diverged
     * @property promoted whether it came into use
     * @property refusals why not
     */
    public data class Finished(val graft: Long?, val promoted: Boolean, val refusals: List<Refusal>) : NightEnd

    /** An error ended it. */
    public data object Failed : NightEnd
}

/** Why the system stopped a night. */
public enum class Interruption {
    /** The time that it gives was over. */
    TIME_UP,

    /** The charger was taken away. */
    NOT_CHARGING,

    /** Somebody began to use the device. */
    IN_USE,

    /** The battery ran low. */
    BATTERY_LOW,

    /** Storage ran low. */
    STORAGE_LOW,

    /** Something else was more important. */
    PREEMPTED,

    /** The app may work in the background no longer, or no more for now. */
    RESTRICTED,

    /** The user ended it, in the system's own screens. */
    USER,

    /** It does not say. */
    UNKNOWN,
}

internal fun Interruption.toFfi() =
    when (this) {
        Interruption.TIME_UP -> FfiInterruption.TIME_UP
        Interruption.NOT_CHARGING -> FfiInterruption.NOT_CHARGING
        Interruption.IN_USE -> FfiInterruption.IN_USE
        Interruption.BATTERY_LOW -> FfiInterruption.BATTERY_LOW
        Interruption.STORAGE_LOW -> FfiInterruption.STORAGE_LOW
        Interruption.PREEMPTED -> FfiInterruption.PREEMPTED
        Interruption.RESTRICTED -> FfiInterruption.RESTRICTED
        Interruption.USER -> FfiInterruption.USER
        Interruption.UNKNOWN -> FfiInterruption.UNKNOWN
    }

private fun FfiInterruption.toPublic() = Interruption.entries.first { it.toFfi() == this }

internal fun FfiNightRecord.toPublic() =
    NightRecord(
        began = Instant.ofEpochSecond(began),
        duration = seconds.seconds,
        running = runningSeconds.seconds,
        waits = waits.map { NightWait(it.kind.toPublic(), it.seconds.seconds) },
        steps = steps.toLong(),
        end = end?.toPublic(),
    )

private fun FfiNightEnd.toPublic(): NightEnd =
    when (this) {
        is FfiNightEnd.GoesOn -> NightEnd.GoesOn
        is FfiNightEnd.Stopped -> NightEnd.Stopped(`by`?.toPublic())
        is FfiNightEnd.NothingToDo -> NightEnd.NothingToDo(reason.toPublic())
        is FfiNightEnd.Finished -> NightEnd.Finished(graft?.toLong(), promoted, refusals.map { it.toPublic() })
        is FfiNightEnd.Failed -> NightEnd.Failed
    }
