package org.nightgraft.work

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.test.currentTime
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.nightgraft.PauseReason
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind
import org.nightgraft.android.RunEnd
import org.nightgraft.android.RunTerms

/** On which terms a worker trains, what it shows, and what WorkManager is told, in simulated time. */
@OptIn(ExperimentalCoroutinesApi::class)
internal class WorkRunTest {
    private val night = WorkOrder.Night(NightConditions())
    private val now = WorkOrder.Now(serviceType = 1)
    private val goesOn = RunEnd.Ended(SliceOutcome.Paused(PauseReason.Deadline), next = 1.minutes)
    private val over = RunEnd.Ended(EVERYTHING_LEARNED, next = 6.hours)

    private fun run(
        order: WorkOrder,
        system: WorkSystem,
        train: suspend (RunTerms, (Progress) -> Unit) -> RunEnd,
    ) = WorkRun(order, system, sdk = 36, train)

    private suspend fun after(order: WorkOrder, end: RunEnd, system: WorkSystem = FakeWork()) =
        run(order, system) { _, _ -> end }.work()

    @Test
    fun `a night has a job's time and an idle device, and what the owner asks for has hours and none`() = runTest {
        val terms = mutableListOf<RunTerms>()
        suspend fun termsOf(order: WorkOrder, system: FakeWork = FakeWork()): RunTerms {
            run(order, system) { given, _ -> over.also { terms += given } }.work()
            return terms.last()
        }
        termsOf(night).let { assertEquals(Triple(28.minutes, true, false), Triple(it.grant, it.idle, it.whileUsed)) }
        val wireless = WorkOrder.Night(NightConditions(charging = false, idle = false, pause = 2.hours))
        termsOf(wireless).let { assertEquals(Triple(570.seconds, false, 2.hours), Triple(it.grant, it.idle, it.pause)) }
        termsOf(now).let { assertEquals(Triple(5.5.hours, false, true), Triple(it.grant, it.idle, it.whileUsed)) }
    }

    @Test
    fun `where a foreground service is refused it trains as other work does`() = runTest {
        val refusals =
            listOf(
                // What ForegroundServiceStartNotAllowedException is, from the background or after six hours.
                IllegalStateException("startForegroundService() not allowed"),
                SecurityException("without android.permission.FOREGROUND_SERVICE_DATA_SYNC"),
            )
        for (refusal in refusals) {
            val system = FakeWork()
            system.foreground = refusal
            var grant: Duration? = null
            val end =
                run(now, system) { terms, onProgress ->
                    grant = terms.grant
                    onProgress(progress(step = 1))
                    delay(1.seconds)
                    over
                }.work()
            assertEquals(WorkEnd.DONE to 570.seconds, end to grant)
            assertEquals(listOf(refusal), system.logged)
            assertEquals(listOf(1L), system.told.map { it.step }, "screens hear of it nevertheless")
        }
    }

    @Test
    fun `work that is stopped while its service begins does not train`() = runTest {
        val system =
            object : WorkSystem by FakeWork() {
                override suspend fun showInForeground(progress: Progress?): Unit = awaitCancellation()
            }
        var hasTrained = false
        val job = launch { run(now, system) { _, _ -> over.also { hasTrained = true } }.work() }
        runCurrent()
        job.cancel()
        job.join()
        assertFalse(hasTrained)
        assertTrue(job.isCancelled)
    }

    @Test
    fun `a notification changes every three seconds, whatever the training has to tell`() = runTest {
        val system = FakeWork()
        run(now, system) { _, onProgress ->
            for (step in 1L..50) {
                onProgress(progress(step))
                delay(200.milliseconds)
            }
            over
        }.work()
        assertEquals(listOf(1L, 15, 30, 45), system.told.map { it.step })
        assertEquals(listOf(null, 1L, 15, 30, 45), system.shown.map { it?.step })
    }

    @Test
    fun `what cannot be shown does not end the training`() = runTest {
        val system = FakeWork()
        system.progress = IllegalStateException("the work is over")
        val end =
            run(now, system) { _, onProgress ->
                onProgress(progress(step = 1))
                delay(10.seconds)
                goesOn
            }.work()
        assertEquals(WorkEnd.AGAIN, end)
        assertEquals(listOf(system.progress), system.logged)
    }

    @Test
    fun `nights use most of the time that there is, though WorkManager's recur every quarter of an hour`() = runTest {
        val work = FakeRecurringWork(this) { system ->
            run(night, system) { terms, _ ->
                delay(terms.grant)
                goesOn
            }.work()
        }
        work.live(until = 9.hours)
        val pauses = work.runs.zipWithNext { one, next -> next.start - one.endInclusive }
        assertEquals(listOf(30.seconds, 1.minutes, 2.minutes, 4.minutes, 8.minutes, 15.minutes, 30.seconds), pauses.take(7))
        val trained = work.runs.map { minOf(it.endInclusive, 9.hours) - it.start }.reduce(Duration::plus)
        assertEquals(471.5.minutes, trained)
    }

    @Test
    fun `a night that has to wait comes back by its reason, and one that is over after its pause`() = runTest {
        val ends =
            ArrayDeque(
                listOf(
                    RunEnd.Ended(waited(WaitKind.TOO_WARM), 30.minutes),
                    RunEnd.Ended(waited(WaitKind.OUTSIDE_WINDOW), 100.minutes),
                    RunEnd.Failed(FAULT, next = 15.minutes),
                    over,
                    goesOn,
                )
            )
        val work = FakeRecurringWork(this) { system -> after(night, ends.removeFirst(), system) }
        work.live(until = 30.minutes + 100.minutes + 15.minutes + 6.hours + 1.seconds)
        val pauses = work.runs.zipWithNext { one, next -> next.start - one.endInclusive }
        assertEquals(listOf(30.minutes, 100.minutes, 15.minutes, 6.hours), pauses)
    }

    @Test
    fun `what only the app can mend takes the nights back`() = runTest {
        val work = FakeRecurringWork(this) { system -> after(night, RunEnd.Failed(FAULT, next = null), system) }
        work.live(until = 48.hours)
        assertEquals(1, work.runs.size)
        val system = FakeWork()
        assertEquals(WorkEnd.FAILED, after(now, RunEnd.Failed(FAULT, next = null), system))
        assertFalse(system.isTakenBack, "the nights are not asked")
    }

    @Test
    fun `what the owner asked for goes on after its time, and leaves waits to the nights`() = runTest {
        val tooWarm = waited(WaitKind.TOO_WARM)
        val ends =
            mapOf(
                goesOn to WorkEnd.AGAIN,
                over to WorkEnd.DONE,
                RunEnd.Ended(outcome = null, next = 6.hours) to WorkEnd.DONE,
                RunEnd.Ended(tooWarm, next = 30.minutes) to WorkEnd.DONE,
                RunEnd.Ended(SliceOutcome.Paused(PauseReason.Stopped), next = 15.minutes) to WorkEnd.DONE,
                RunEnd.Failed(FAULT, next = 1.hours) to WorkEnd.FAILED,
            )
        for ((end, expected) in ends) {
            val system = FakeWork()
            assertEquals(expected, after(now, end, system))
            assertNull(system.postponed)
        }
    }

    private companion object {
        val FAULT = IllegalArgumentException("a fault")
    }
}
