package org.nightgraft.work

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.delay
import kotlinx.coroutines.test.TestScope
import kotlinx.coroutines.test.currentTime
import org.nightgraft.ForTests
import org.nightgraft.NothingToDoReason
import org.nightgraft.PauseReason
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind

/** WorkManager as one run sees it. It notes what it is told; a test says what it refuses. */
internal class FakeWork(override val attempt: Int = 0) : WorkSystem {
    /** What a foreground service is refused with. */
    var foreground: Exception? = null

    /** What progress is refused with. */
    var progress: Exception? = null

    val shown = mutableListOf<Progress?>()
    val told = mutableListOf<Progress>()
    val logged = mutableListOf<Exception>()
    var postponed: Duration? = null
        private set
    var isTakenBack = false
        private set

    override suspend fun showInForeground(progress: Progress?) {
        foreground?.let { throw it }
        shown += progress
    }

    override suspend fun tell(progress: Progress) {
        this.progress?.let { throw it }
        told += progress
    }

    override fun postpone(pause: Duration) {
        postponed = pause
    }

    override fun takeBack() {
        isTakenBack = true
    }

    override fun log(refusal: Exception) {
        logged += refusal
    }
}

/**
 * Nights as WorkManager lets them recur, in simulated time: by the rules of `WorkSpec.calculateNextRunTime`, and what
 * `WorkerWrapper` does with a result, of version 2.11.
 */
@OptIn(ExperimentalCoroutinesApi::class)
internal class FakeRecurringWork(private val scope: TestScope, private val work: suspend (WorkSystem) -> WorkEnd) {
    /** When each run began and ended. */
    val runs = mutableListOf<ClosedRange<Duration>>()

    private var attempt = 0
    private var ended = Duration.ZERO
    private var overridden: Duration? = null
    private var isTakenBack = false

    suspend fun live(until: Duration) {
        while (!isTakenBack && due() < until) {
            delay(due() - now())
            run()
        }
    }

    private fun now() = scope.currentTime.milliseconds

    private fun due(): Duration {
        val backoff = 30.seconds * (1 shl (attempt - 1).coerceAtLeast(0))
        return when {
            runs.isEmpty() -> now()
            overridden != null -> maxOf(checkNotNull(overridden), ended + SHORTEST_PERIOD)
            attempt > 0 -> ended + backoff.coerceAtMost(5.hours)
            else -> ended + PERIOD
        }
    }

    private suspend fun run() {
        val system = FakeWork(attempt)
        attempt++
        val began = now()
        val end = work(system)
        ended = now()
        runs += began..ended
        overridden = system.postponed?.let { ended + it }
        isTakenBack = system.isTakenBack
        if (end != WorkEnd.AGAIN) attempt = 0
    }

    private companion object {
        val PERIOD = 6.hours
    }
}

internal val EVERYTHING_LEARNED = SliceOutcome.NothingToDo(NothingToDoReason.EverythingLearned, "nothing new")

@OptIn(ForTests::class)
internal fun progress(step: Long, totalSteps: Long = 100) = Progress.of(Phase.TRAINING, step, totalSteps)

/** The end of a run that had to wait. */
@OptIn(ForTests::class)
internal fun waited(reason: WaitKind): SliceOutcome {
    val waiting = Progress.of(Phase.WAITING, waitingFor = reason).waiting
    return SliceOutcome.Paused(PauseReason.Policy(checkNotNull(waiting)))
}
