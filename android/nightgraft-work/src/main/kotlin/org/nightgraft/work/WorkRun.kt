package org.nightgraft.work

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.launch
import org.nightgraft.NightgraftException
import org.nightgraft.PauseReason
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.android.RunEnd
import org.nightgraft.android.RunTerms

/** WorkManager, as far as one run of a worker needs it. */
internal interface WorkSystem {
    /** How often the work was begun before, since it last succeeded. */
    val attempt: Int

    /** Goes on in a foreground service, whose notification shows how far it is; throws where the system does not allow that. */
    suspend fun showInForeground(progress: Progress?)

    /** Tells those who look at the work how far it is. */
    suspend fun tell(progress: Progress)

    /** Puts the next night off. Work that was taken back meanwhile stays so. */
    fun postpone(pause: Duration)

    /** Takes the nights back, until the app schedules them again. */
    fun takeBack()

    /** Hears why something could not be shown. */
    fun log(refusal: Exception)
}

/** What WorkManager is told of a run's end. */
internal enum class WorkEnd {
    /** Work that is done once is over; work that recurs comes back when it is due. */
    DONE,

    /** It is to be tried again, after a time that doubles with each attempt. */
    AGAIN,

    /** Work that is done once is over; only the app can do something about it. */
    FAILED,
}

/** One run of a worker: on which terms it trains, and what comes after it. */
internal class WorkRun(
    private val order: WorkOrder,
    private val system: WorkSystem,
    private val sdk: Int,
    private val train: suspend (RunTerms, onProgress: (Progress) -> Unit) -> RunEnd,
) {
    /** A coroutine that is cancelled stops it, saved. */
    suspend fun work(): WorkEnd =
        when (order) {
            is WorkOrder.Night -> afterNight(train(order.conditions.terms()) {})
            is WorkOrder.Now -> afterNow(trainNow())
        }

    private fun NightConditions.terms() = RunTerms(RunTerms.jobGrant(charging, sdk), idle = idle, pause = pause)

    /** Nights come back as `JobScheduler`'s do, as far as WorkManager lets them. */
    private fun afterNight(end: RunEnd): WorkEnd {
        val pause = end.next
        if (pause == null) {
            system.takeBack()
            return WorkEnd.FAILED
        }
        // Work that recurs does so after a quarter of an hour at the earliest: to try it again comes sooner, some times.
        if (pause < SHORTEST_PERIOD && pauseBeforeRetry(system.attempt) < SHORTEST_PERIOD) return WorkEnd.AGAIN
        system.postpone(pause)
        return WorkEnd.DONE
    }

    private suspend fun trainNow(): RunEnd = coroutineScope {
        val isInForeground = isAllowed { system.showInForeground(null) }
        val grant = if (isInForeground) FOREGROUND_GRANT else RunTerms.jobGrant(charging = false, sdk)
        val latest = MutableStateFlow<Progress?>(null)
        val showing = launch {
            latest.filterNotNull().collect { progress ->
                isAllowed {
                    system.tell(progress)
                    if (isInForeground) system.showInForeground(progress)
                }
                delay(BETWEEN_SHOWS)
            }
        }
        try {
            train(RunTerms(grant, whileUsed = true)) { latest.value = it }
        } finally {
            showing.cancel()
        }
    }

    /** The owner waits for it: what is stopped goes on, and what has to wait for something is left to the nights. */
    private fun afterNow(end: RunEnd): WorkEnd =
        when (end) {
            is RunEnd.Ended -> if (end.outcome == SliceOutcome.Paused(PauseReason.Deadline)) WorkEnd.AGAIN else WorkEnd.DONE
            is RunEnd.Failed ->
                when (end.error) {
                    // A night has the store open until the system has stopped it, or the Keystore is busy with itself.
                    is NightgraftException.StoreLocked, is NightgraftException.KeyUnavailable -> WorkEnd.AGAIN
                    else -> WorkEnd.FAILED
                }
        }

    /**
     * Whether the system lets something be shown ([show]): a foreground service may not begin in the background since Android 12,
     * nor, with some types, for more than six hours a day since Android 15; and WorkManager takes nothing for work that is over.
     */
    private suspend fun isAllowed(show: suspend () -> Unit): Boolean =
        try {
            show()
            true
        } catch (refusal: IllegalStateException) {
            // The end of a coroutine looks like a refusal; this one knows whether it was ended.
            currentCoroutineContext().ensureActive()
            system.log(refusal)
            false
        } catch (refusal: SecurityException) {
            system.log(refusal) // without the permission for the service's type
            false
        }
}

/** WorkManager's default: exponential, from half a minute on. Work that waits for an idle device can have no other. */
private fun pauseBeforeRetry(attempt: Int): Duration = 30.seconds * (1 shl attempt.coerceAtMost(MANY_ATTEMPTS))

private const val MANY_ATTEMPTS = 10

/** `PeriodicWorkRequest.MIN_PERIODIC_INTERVAL_MILLIS` */
internal val SHORTEST_PERIOD = 15.minutes

/** Shorter than the six hours of a day in which services of the types `dataSync` and `mediaProcessing` may run. */
private val FOREGROUND_GRANT = 5.5.hours

/** Each time writes to WorkManager's database. */
private val BETWEEN_SHOWS = 3.seconds
