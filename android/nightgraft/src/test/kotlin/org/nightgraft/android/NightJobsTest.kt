package org.nightgraft.android

import android.app.job.JobParameters
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import kotlinx.coroutines.test.TestScope
import kotlinx.coroutines.test.currentTime
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.nightgraft.Interruption
import org.nightgraft.NightgraftException
import org.nightgraft.PauseReason
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind

/** Jobs of the scheduler, from their start to the next one, in simulated time. */
@OptIn(ExperimentalCoroutinesApi::class)
internal class NightJobsTest {
    private val options = JobOptions()
    private val paused = SliceOutcome.Paused(PauseReason.Deadline)

    /** The scheduler of a device that is idle and charging, and an app that runs on it. */
    private fun TestScope.scheduler(app: NightApp): FakeScheduler {
        val process = NightProcess(backgroundScope)
        val scheduler = FakeScheduler(backgroundScope) { currentTime.milliseconds }
        scheduler.makeService = { Service(NightJobs("NightService", app, scheduler, process)) }
        return scheduler
    }

    private class Service(private val nights: NightJobs<StartedJob>) : FakeService {
        override fun onStartJob(job: StartedJob) = nights.start(job, job.options)

        override fun onStopJob(job: StartedJob) = nights.stop(job.options.jobId, JobParameters.STOP_REASON_CONSTRAINT_CHARGING)

        override fun onDestroy() = nights.stopAll()
    }

    /** A night that runs until it is cancelled, and takes its time to save. */
    private class SlowNight(private val save: suspend () -> Unit) : OpenNight {
        override suspend fun train(onProgress: (Progress) -> Unit): SliceOutcome = awaitCancellation()

        override fun stop() = Unit

        override fun forbiddenFor(kind: WaitKind) = null

        override suspend fun release(interruption: Interruption?) = save()
    }

    private suspend fun FakeScheduler.live(time: Duration) = repeat(time.inWholeSeconds.toInt()) {
        look()
        delay(1.seconds)
    }

    @Test
    fun `a job is over before it is scheduled again`() = runTest {
        val scheduler = scheduler(FakeApp { FakeNight { paused } })
        scheduler.ensureScheduled(options)
        scheduler.live(10.minutes)
        assertEquals(0, scheduler.stoppedByScheduling)
        assertTrue(scheduler.starts in 9..10, "${scheduler.starts}")
        assertEquals(setOf(options.jobId), scheduler.pending)
    }

    @Test
    fun `what only the app can mend leaves no request, and an app's start brings it back`() = runTest {
        val scheduler = scheduler(FakeApp { throw NightgraftException.WrongKey("another key") })
        scheduler.ensureScheduled(options)
        scheduler.live(10.minutes)
        assertEquals(1, scheduler.starts)
        assertTrue(scheduler.pending.isEmpty())
        assertNull(scheduler.running)
        scheduler.ensureScheduled(options)
        assertEquals(setOf(options.jobId), scheduler.pending)
    }

    @Test
    fun `a callback that throws does not keep the job open`() = runTest {
        val app = FakeApp { throw NightgraftException.StoreLocked("it is open") }
        app.throwing = IllegalStateException("in onFailure")
        val scheduler = scheduler(app)
        scheduler.ensureScheduled(options)
        scheduler.live(1.minutes)
        assertNull(scheduler.running)
        assertEquals(setOf(options.jobId), scheduler.pending)
    }

    @Test
    fun `a night hears why the system stops its job, and nothing where it does not`() = runTest {
        val stopped = FakeNight { awaitCancellation() }
        val ended = FakeNight { paused }
        val nights = ArrayDeque(listOf(stopped, ended))
        val scheduler = scheduler(FakeApp { nights.removeFirstOrNull() })
        scheduler.ensureScheduled(options)
        scheduler.live(1.seconds)
        scheduler.stop()
        scheduler.live(1.minutes)
        assertEquals(Interruption.NOT_CHARGING to null, stopped.interruption to ended.interruption)
        assertEquals(1 to 1, stopped.releases to ended.releases)
    }

    @Test
    fun `each of the system's reasons is one of the library's, and the app's own is none`() {
        val reasons = ((0..16) + listOf(-128, -512)).groupBy(::interruptionOf)
        val expected =
            mapOf(
                null to listOf(1),
                Interruption.TIME_UP to listOf(3, -128),
                Interruption.NOT_CHARGING to listOf(6),
                Interruption.IN_USE to listOf(8),
                Interruption.BATTERY_LOW to listOf(5),
                Interruption.STORAGE_LOW to listOf(9),
                Interruption.PREEMPTED to listOf(2, 4, 14),
                Interruption.RESTRICTED to listOf(10, 11, 12),
                Interruption.USER to listOf(13),
                Interruption.UNKNOWN to listOf(0, 7, 15, 16, -512),
            )
        assertEquals(expected, reasons)
    }

    @Test
    fun `a job that is taken back does not return`() = runTest {
        val scheduler = scheduler(FakeApp { FakeNight { untilStopped() } })
        scheduler.ensureScheduled(options)
        scheduler.live(5.seconds)
        scheduler.cancel(options.jobId)
        scheduler.live(10.minutes)
        assertEquals(1, scheduler.starts)
        assertTrue(scheduler.pending.isEmpty())
    }

    @Test
    fun `a job that is taken back while it says that it is over does not return`() = runTest {
        val ending = CompletableDeferred<Unit>()
        val scheduler = scheduler(FakeApp { FakeNight { paused.also { ending.await() } } })
        scheduler.ensureScheduled(options)
        scheduler.look()
        runCurrent()
        ending.complete(Unit)
        runCurrent()
        scheduler.cancel(options.jobId)
        scheduler.live(10.minutes)
        assertEquals(1, scheduler.starts)
        assertTrue(scheduler.pending.isEmpty())
    }

    @Test
    fun `a job that starts while the one before saves waits for it, in whichever service`() = runTest {
        var open = 0
        var most = 0
        val scheduler = scheduler(FakeApp {
            most = maxOf(most, ++open)
            SlowNight {
                delay(40.seconds) // longer than the scheduler takes to start it again
                open--
            }
        })
        scheduler.ensureScheduled(options)
        repeat(3) {
            scheduler.live(31.seconds)
            scheduler.stop()
        }
        scheduler.live(2.minutes)
        assertTrue(scheduler.starts >= 3)
        assertEquals(1, most)
    }

    @Test
    fun `one that is stopped while it waits for its turn does not let the next one pass`() = runTest {
        val released = CompletableDeferred<Unit>()
        var opened = 0
        val process = NightProcess(backgroundScope)
        val scheduler = FakeScheduler(backgroundScope) { currentTime.milliseconds }
        val app = FakeApp {
            opened++
            SlowNight { released.await() }
        }
        fun start(): Service {
            val service = Service(NightJobs("NightService", app, scheduler, process))
            service.onStartJob(StartedJob(options, service, Duration.ZERO))
            runCurrent()
            return service
        }
        start().onDestroy()
        start().onDestroy()
        start()
        assertEquals(1, opened)
        released.complete(Unit)
        runCurrent()
        assertEquals(2, opened)
    }

    @Test
    fun `what was scheduled without a namespace is taken back, and nothing else`() = runTest {
        val own = FakeScheduler(backgroundScope) { Duration.ZERO }
        val earlier = FakeScheduler(backgroundScope) { Duration.ZERO }
        val jobs = NamespacedJobs(own, earlier)
        earlier.schedule(options)
        earlier.schedule(JobOptions(jobId = 7))
        assertTrue(jobs.ensureScheduled(options))
        assertEquals(setOf(options.jobId) to setOf(7), own.pending to earlier.pending)
        jobs.cancel(7)
        assertEquals(setOf(options.jobId) to emptySet<Int>(), own.pending to earlier.pending)
    }

    @Test
    fun `the job's number is none of WorkManager's, which has all from zero on`() {
        assertTrue(JobOptions().jobId < 0)
    }
}
