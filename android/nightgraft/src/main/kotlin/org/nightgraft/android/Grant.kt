package org.nightgraft.android

import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import org.nightgraft.Interruption
import org.nightgraft.NightgraftException
import org.nightgraft.PauseReason
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind

/** The app's part of a job that trains at night. */
internal interface NightApp {
    /** Why the system has stopped the job, if it has. */
    val interruption: Interruption? get() = null

    /** Opens what one grant needs that a job with these [options] has got; null if there is nothing to do. */
    suspend fun open(options: JobOptions): OpenNight?

    fun onProgress(progress: Progress)

    fun onOutcome(outcome: SliceOutcome)

    fun onFailure(error: Exception)

    /** Hears what [onFailure] itself threw. */
    fun log(error: Exception)
}

/** A model, a store and a session on them. */
internal interface OpenNight {
    /** Trains and waits until the session or the grant is over, or somebody calls [stop]. */
    suspend fun train(onProgress: (Progress) -> Unit): SliceOutcome

    fun stop()

    /** How long the rules will go on to forbid what they forbid for [kind] now; null if that is not for the clock to say. */
    fun forbiddenFor(kind: WaitKind): Duration?

    /** Closes it all, and notes why the system has stopped it, if it has. A coroutine that is cancelled calls it too. */
    suspend fun release(interruption: Interruption?)
}

/**
 * Uses one grant of the system's scheduler, when [turn] is free: another grant may still be saving. While it cannot train it keeps
 * the device awake for two minutes at most, half a minute of that for opening.
 */
internal suspend fun NightApp.useGrant(options: JobOptions, turn: Mutex): RunEnd =
    try {
        val end = withNight(options, turn) { night -> night.trainPatiently { onProgress(it) } }
        if (end != null) tell { onOutcome(end.outcome) }
        RunEnd.Ended(end?.outcome, pauseAfter(end, over = options.pause))
    } catch (error: Exception) {
        // An app's own timeout looks as if the system had stopped the job; this one knows whether it did.
        currentCoroutineContext().ensureActive()
        fail(error, options)
    } catch (error: LinkageError) {
        fail(NightgraftException.Unsupported("the native library cannot be loaded", error), options)
    }

private suspend fun <T> NightApp.withNight(options: JobOptions, turn: Mutex, work: suspend (OpenNight) -> T): T? {
    var isOurTurn = false
    var night: OpenNight? = null
    try {
        withTimeout(OPENING_AT_MOST) {
            turn.lock()
            isOurTurn = true
            night = open(options)
        }
        return night?.let { work(it) }
    } catch (late: TimeoutCancellationException) {
        // The run before goes on. That is no fault of the app's.
        throw if (isOurTurn) late else NightgraftException.StoreLocked("another run has the store open", late)
    } finally {
        try {
            withContext(NonCancellable) { night?.release(interruption) }
        } finally {
            if (isOurTurn) turn.unlock()
        }
    }
}

private fun NightApp.fail(error: Exception, options: JobOptions): RunEnd {
    tell { onFailure(error) }
    return RunEnd.Failed(error, pauseAfter(error, over = options.pause))
}

/** Calls the app, whose errors must not keep the job from being finished. */
private inline fun NightApp.tell(call: () -> Unit) {
    try {
        call()
    } catch (error: Exception) {
        log(error)
    }
}

/** Trains, and gives the grant back when that has waited for too long. */
private suspend fun OpenNight.trainPatiently(onProgress: (Progress) -> Unit): GrantEnd = coroutineScope {
    val patience = Patience(this, giveUp = { stop() })
    val outcome = train { progress ->
        patience.see(progress)
        onProgress(progress)
    }
    patience.end()
    val kind = patience.givenUpFor ?: outcome.waitedFor()
    GrantEnd(outcome, kind, kind?.let { forbiddenFor(it) })
}

private fun SliceOutcome.waitedFor(): WaitKind? =
    ((this as? SliceOutcome.Paused)?.reason as? PauseReason.Policy)?.waiting?.kind

/** Calls [giveUp] when a night has waited for too long. */
private class Patience(private val scope: CoroutineScope, private val giveUp: () -> Unit) {
    @Volatile
    var givenUpFor: WaitKind? = null
        private set

    @Volatile private var waitingFor: WaitKind? = null
    @Volatile private var timer: Job? = null

    /** Is told of all progress, by one thread. */
    fun see(progress: Progress) {
        val kind = progress.waiting?.kind?.takeIf { progress.phase == Phase.WAITING }
        waitingFor = kind
        when {
            kind == null -> end()
            !kind.maySoonBeOver() -> giveUpNow()
            timer == null ->
                timer = scope.launch {
                    delay(WAITING_AT_MOST)
                    giveUpNow()
                }
        }
    }

    fun end() {
        timer?.cancel()
        timer = null
    }

    private fun giveUpNow() {
        givenUpFor = waitingFor ?: return
        giveUp()
    }
}

/** With [WAITING_AT_MOST], and some seconds for saving, the two minutes for which the device may be kept awake untrained. */
private val OPENING_AT_MOST = 30.seconds

private val WAITING_AT_MOST = 80.seconds

/**
 * The time to ask for. From Android 12 on a job gets half an hour while the device charges, and otherwise ten minutes; what
 * comes earlier, the system tells.
 */
internal fun defaultGrant(charging: Boolean, sdk: Int): Duration =
    if (charging && sdk >= ANDROID_12) 28.minutes else 570.seconds

private const val ANDROID_12 = 31
