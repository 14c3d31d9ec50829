package org.nightgraft

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import org.nightgraft.ffi.Estimate as FfiEstimate
import org.nightgraft.ffi.Phase as FfiPhase
import org.nightgraft.ffi.Progress as FfiProgress
import org.nightgraft.ffi.ProgressListener as FfiProgressListener
import org.nightgraft.ffi.ListenerException
import org.nightgraft.ffi.WaitKind as FfiWaitKind
import org.nightgraft.ffi.Waiting as FfiWaiting

/**
 * How far a session is.
 *
 * @property phase what it does
 * @property step the optimizer steps that are done
 * @property totalSteps all steps; 0 while they are not known
 * @property loss the loss of the last step, in nats per token
 * @property heldOutLoss the last loss on the examples that are kept aside, in nats per token
 * @property tokensPerSecond how fast it is
 * @property timeLeft how long it will take at this speed
 * @property memoryBytes resident memory of the process, the mapped model included; 0 while it is not known
 * @property waiting what it waits for, in phase [Phase.WAITING] or after a pause for the same reason
 * @property estimate how much longer it takes, once a night has ended
 * @property warning a sentence about something to know, such as examples that were cut
 * @property nothingToDo why nothing is trained, in phase [Phase.NOTHING_TO_DO]
 */
@ConsistentCopyVisibility
public data class Progress
internal constructor(
    val phase: Phase,
    val step: Long,
    val totalSteps: Long,
    val loss: Double?,
    val heldOutLoss: Double?,
    val tokensPerSecond: Double?,
    val timeLeft: Duration?,
    val memoryBytes: Long,
    val waiting: Waiting?,
    val estimate: Estimate?,
    val warning: String?,
    val nothingToDo: NothingToDoReason?,
) {
    /** Makes progress for tests. */
    public companion object {
        /** Progress of no session. */
        @ForTests
        public fun of(
            phase: Phase,
            step: Long = 0,
            totalSteps: Long = 0,
            loss: Double? = null,
            heldOutLoss: Double? = null,
            tokensPerSecond: Double? = null,
            timeLeft: Duration? = null,
            memoryBytes: Long = 0,
            waitingFor: WaitKind? = null,
            warning: String? = null,
            nothingToDo: NothingToDoReason? = null,
        ): Progress =
            Progress(
                phase = phase,
                step = step,
                totalSteps = totalSteps,
                loss = loss,
                heldOutLoss = heldOutLoss,
                tokensPerSecond = tokensPerSecond,
                timeLeft = timeLeft,
                memoryBytes = memoryBytes,
                waiting = waitingFor?.let { Waiting(it, "waiting for $it") },
                estimate = null,
                warning = warning,
                nothingToDo = nothingToDo,
            )
    }
}

/**
 * How much longer a session takes, as far as that is known.
 *
 * @property stepsLeft the optimizer steps that are left
 * @property timeLeft how long they take at the sustained pace, pauses not counted
 * @property nightsLeft how many nights they take
 * @property text all of it as a sentence in English
 */
@ConsistentCopyVisibility
public data class Estimate
internal constructor(val stepsLeft: Long, val timeLeft: Duration?, val nightsLeft: Double?, val text: String)

/** What a session does. */
public enum class Phase {
    /** It reads the examples and makes its plan. */
    PREPARING,

    /** It trains. */
    TRAINING,

    /** It measures what the training was worth. */
    JUDGING,

    /** It waits for the device to be ready. */
    WAITING,

    /** It is saved, and goes on with the next slice. */
    PAUSED,

    /** It is over, and there is a report. */
    FINISHED,

    /** The store has nothing new to learn, or too little. */
    NOTHING_TO_DO,
}

/**
 * What training waits for.
 *
 * @property kind the reason
 * @property text the same as a sentence in English for the device's owner
 */
@ConsistentCopyVisibility
public data class Waiting internal constructor(val kind: WaitKind, val text: String)

/** Why training waits. */
public enum class WaitKind {
    /** No charger gives power. */
    NOT_CHARGING,

    /** The device saves power. */
    LOW_POWER_MODE,

    /** The battery is too low, even on the charger. */
    BATTERY_LOW,

    /** The device is too warm. */
    TOO_WARM,

    /** The device was too warm a moment ago. */
    COOLING_DOWN,

    /** Somebody uses the device. */
    IN_USE,

    /** Somebody used the device a moment ago. */
    JUST_USED,

    /** It is not the time of day. */
    OUTSIDE_WINDOW,

    /** The day's minutes are used up. */
    MINUTES_USED_UP,

    /** The day's energy is used up. */
    ENERGY_USED_UP,

    /** Enough was written to flash memory for one day. */
    FLASH_USED_UP,

    /** There is too little free storage. */
    STORAGE_LOW,

    /** There is too little free memory. */
    MEMORY_LOW,

    /** A reading of the device cannot be true, or there is none. */
    UNREADABLE,
}

internal fun FfiProgress.toPublic() =
    Progress(
        phase = phase.toPublic(),
        step = step.toLong(),
        totalSteps = totalSteps.toLong(),
        loss = loss,
        heldOutLoss = heldOutLoss,
        tokensPerSecond = tokensPerSecond,
        timeLeft = secondsLeft?.seconds,
        memoryBytes = memoryBytes.toLong(),
        waiting = waiting?.toPublic(),
        estimate = estimate?.toPublic(),
        warning = warning,
        nothingToDo = nothingToDo?.toPublic(),
    )

private fun FfiEstimate.toPublic() = Estimate(stepsLeft.toLong(), secondsLeft?.seconds, nightsLeft, text)

internal fun FfiWaiting.toPublic() = Waiting(kind.toPublic(), text)

private fun FfiPhase.toPublic() =
    when (this) {
        FfiPhase.PREPARING -> Phase.PREPARING
        FfiPhase.TRAINING -> Phase.TRAINING
        FfiPhase.JUDGING -> Phase.JUDGING
        FfiPhase.WAITING -> Phase.WAITING
        FfiPhase.PAUSED -> Phase.PAUSED
        FfiPhase.FINISHED -> Phase.FINISHED
        FfiPhase.NOTHING_TO_DO -> Phase.NOTHING_TO_DO
    }

internal fun FfiWaitKind.toPublic() =
    when (this) {
        FfiWaitKind.NOT_CHARGING -> WaitKind.NOT_CHARGING
        FfiWaitKind.LOW_POWER_MODE -> WaitKind.LOW_POWER_MODE
        FfiWaitKind.BATTERY_LOW -> WaitKind.BATTERY_LOW
        FfiWaitKind.TOO_WARM -> WaitKind.TOO_WARM
        FfiWaitKind.COOLING_DOWN -> WaitKind.COOLING_DOWN
        FfiWaitKind.IN_USE -> WaitKind.IN_USE
        FfiWaitKind.JUST_USED -> WaitKind.JUST_USED
        FfiWaitKind.OUTSIDE_WINDOW -> WaitKind.OUTSIDE_WINDOW
        FfiWaitKind.MINUTES_USED_UP -> WaitKind.MINUTES_USED_UP
        FfiWaitKind.ENERGY_USED_UP -> WaitKind.ENERGY_USED_UP
        FfiWaitKind.FLASH_USED_UP -> WaitKind.FLASH_USED_UP
        FfiWaitKind.STORAGE_LOW -> WaitKind.STORAGE_LOW
        FfiWaitKind.MEMORY_LOW -> WaitKind.MEMORY_LOW
        FfiWaitKind.UNREADABLE -> WaitKind.UNREADABLE
    }

/** Hands progress to the app, and keeps what the app throws: the native library is only told that it did. */
internal class ProgressRelay(private val onProgress: (Progress) -> Unit) : FfiProgressListener {
    @Volatile
    var thrown: Throwable? = null
        private set

    override fun onProgress(progress: FfiProgress) {
        try {
            onProgress(progress.toPublic())
        } catch (error: Throwable) {
            thrown = error
            throw ListenerException.Failed(error.javaClass.name)
        }
    }
}
