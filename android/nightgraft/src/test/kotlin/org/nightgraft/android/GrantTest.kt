package org.nightgraft.android

import java.io.IOException
import java.time.LocalTime
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlin.time.DurationUnit
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.test.TestScope
import kotlinx.coroutines.test.currentTime
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.nightgraft.ForTests
import org.nightgraft.NightRules
import org.nightgraft.NightWindow
import org.nightgraft.NightgraftException
import org.nightgraft.PauseReason
import org.nightgraft.Phase
import org.nightgraft.SessionReport
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind
import org.nightgraft.Waiting

/** One grant of the scheduler, in simulated time. */
@OptIn(ExperimentalCoroutinesApi::class)
internal class GrantTest {
    private val turn = Mutex()
    private val options = JobOptions()

    private fun TestScope.elapsed() = currentTime.milliseconds

    private suspend fun use(app: NightApp) = app.useGrant(options, turn).next

    @Test
    fun `no wait keeps the device awake for more than two minutes, and each has its next attempt`() {
        val pauses = WaitKind.entries.associateWith { kind ->
            var pause: Duration? = null
            runTest {
                val night = FakeNight.waiting(kind)
                pause = use(FakeApp { night })
                assertTrue(elapsed() < 2.minutes, "$kind: ${elapsed()}")
                assertEquals(kind.maySoonBeOver(), elapsed() > Duration.ZERO, "$kind: ${elapsed()}")
                assertEquals(1, night.releases)
            }
            pause
        }
        assertEquals(
            mapOf(
                15.minutes to setOf(WaitKind.NOT_CHARGING, WaitKind.IN_USE, WaitKind.JUST_USED),
                30.minutes to
                    setOf(WaitKind.BATTERY_LOW, WaitKind.TOO_WARM, WaitKind.COOLING_DOWN, WaitKind.MEMORY_LOW),
                1.hours to
                    setOf(
                        WaitKind.LOW_POWER_MODE,
                        WaitKind.OUTSIDE_WINDOW,
                        WaitKind.MINUTES_USED_UP,
                        WaitKind.ENERGY_USED_UP,
                        WaitKind.FLASH_USED_UP,
                        WaitKind.UNREADABLE,
                    ),
                6.hours to setOf(WaitKind.STORAGE_LOW),
            ),
            pauses.entries.groupBy({ it.value }, { it.key }).mapValues { it.value.toSet() },
        )
    }

    @Test
    fun `a short wait is worth it, and one after it counts anew`() = runTest {
        val night = FakeNight { tell ->
            repeat(5) {
                tell(progress(Phase.WAITING, WaitKind.MEMORY_LOW))
                delay(75.seconds)
                tell(progress(Phase.TRAINING))
                delay(5.minutes)
            }
            SliceOutcome.Paused(PauseReason.Deadline)
        }
        assertEquals(1.minutes, use(FakeApp { night }))
        assertEquals(31.minutes + 15.seconds, elapsed())
    }

    @Test
    fun `opening and waiting together stay within two minutes`() = runTest {
        val night = FakeNight.waiting(WaitKind.UNREADABLE)
        val app = FakeApp {
            delay(29.seconds)
            night
        }
        assertEquals(1.hours, use(app))
        assertTrue(elapsed() in 90.seconds..<2.minutes, "${elapsed()}")
    }

    @Test
    fun `an opening that does not end is a failure`() = runTest {
        val app = FakeApp { awaitCancellation() }
        assertEquals(1.hours, use(app))
        assertEquals(30.seconds, elapsed())
        assertTrue(app.failures.single() is TimeoutCancellationException)
        assertFalse(turn.isLocked)
    }

    @Test
    fun `a run that has the store open for long is no failure of the app's`() = runTest {
        turn.lock()
        val app = FakeApp { FakeNight { EVERYTHING_LEARNED } }
        assertEquals(15.minutes, use(app))
        assertEquals(30.seconds, elapsed())
        assertTrue(app.failures.single() is NightgraftException.StoreLocked)
        assertTrue(turn.isLocked, "it is the other run's")
    }

    @Test
    fun `a timeout of the app's own is a failure, and no stop by the system`() = runTest {
        val app = FakeApp { withTimeout(10.seconds) { awaitCancellation() } }
        assertEquals(1.hours, use(app))
        assertTrue(app.failures.single() is TimeoutCancellationException)
    }

    @Test
    fun `what the system stops says nothing, and is closed`() = runTest {
        val night = FakeNight { untilStopped() }
        val app = FakeApp { night }
        val job = launch { use(app) }
        runCurrent()
        job.cancel(CancellationException("onStopJob"))
        job.join()
        assertEquals(1, night.releases)
        assertTrue(app.failures.isEmpty() && app.outcomes.isEmpty())
        assertFalse(turn.isLocked)
    }

    @Test
    fun `what the app's callbacks throw changes nothing`() = runTest {
        val app = FakeApp { throw NightgraftException.StoreLocked("it is open") }
        app.throwing = IllegalStateException("in a callback")
        assertEquals(15.minutes, use(app))
        assertEquals(app.throwing, app.logged.single())
        val over = FakeApp { FakeNight { EVERYTHING_LEARNED } }
        over.throwing = app.throwing
        assertEquals(6.hours, use(over))
        assertEquals(app.throwing, over.logged.single())
    }

    @Test
    fun `each failure has its next attempt, and none where only the app can help`() = runTest {
        val pauses =
            mapOf(
                NightgraftException.StoreLocked("") to 15.minutes,
                NightgraftException.Cancelled("") to 15.minutes,
                NightgraftException.KeyUnavailable("") to 15.minutes,
                NightgraftException.OutOfMemoryBudget(2, 1) to 6.hours,
                NightgraftException.StorageFull("") to 6.hours,
                NightgraftException.ModelChanged("") to 6.hours,
                IOException() to 1.hours,
                NightgraftException.WrongKey("") to null,
                NightgraftException.InvalidModel("") to null,
                NightgraftException.InvalidData("") to null,
                NightgraftException.Corrupted("") to null,
                NightgraftException.Unsupported("") to null,
                NightgraftException.Internal("") to null,
            )
        for ((error, pause) in pauses) {
            val app = FakeApp { throw error }
            assertEquals(pause, use(app), "$error")
            assertEquals(error.javaClass, app.failures.single().javaClass)
        }
        val app = FakeApp { throw UnsatisfiedLinkError("no such library") }
        assertNull(use(app))
        assertTrue(app.failures.single() is NightgraftException.Unsupported)
    }

    @Test
    @OptIn(ForTests::class)
    fun `a session that is not over goes on, and one that is rests`() {
        assertEquals(1.minutes, pauseAfter(GrantEnd(SliceOutcome.Paused(PauseReason.Deadline)), 6.hours))
        assertEquals(6.hours, pauseAfter(GrantEnd(SliceOutcome.Finished(SessionReport.of())), 6.hours))
        assertEquals(6.hours, pauseAfter(GrantEnd(EVERYTHING_LEARNED), 6.hours))
        assertEquals(6.hours, pauseAfter(end = null, 6.hours))
    }

    @Test
    fun `a grant that ends in a wait is one for its reason too`() = runTest {
        val tooWarm = SliceOutcome.Paused(PauseReason.Policy(Waiting(WaitKind.TOO_WARM, "")))
        assertEquals(30.minutes, use(FakeApp { FakeNight { tooWarm } }))
    }

    @Test
    fun `what the clock forbids is waited for by the clock, and not for longer than after a session`() = runTest {
        val night = FakeNight.waiting(WaitKind.OUTSIDE_WINDOW)
        night.forbidden = 100.minutes
        assertEquals(100.minutes, use(FakeApp { night }))
        val rules = NightRules(window = NightWindow(LocalTime.of(1, 0), LocalTime.of(5, 0)), dayBegins = LocalTime.NOON)
        val evening = LocalTime.of(22, 30, 59)
        assertEquals(150.minutes, rules.forbiddenFor(WaitKind.OUTSIDE_WINDOW, evening))
        assertEquals(13.5.hours, rules.forbiddenFor(WaitKind.FLASH_USED_UP, evening))
        assertEquals(24.hours, rules.forbiddenFor(WaitKind.MINUTES_USED_UP, LocalTime.NOON))
        assertNull(rules.forbiddenFor(WaitKind.STORAGE_LOW, evening))
        assertNull(NightRules().forbiddenFor(WaitKind.OUTSIDE_WINDOW, evening))
        val outside = SliceOutcome.Paused(PauseReason.Stopped)
        assertEquals(6.hours, pauseAfter(GrantEnd(outside, WaitKind.FLASH_USED_UP, 13.5.hours), 6.hours))
    }

    @Test
    fun `on the charger half an hour is asked for, where the system gives it`() {
        assertEquals(28.minutes, defaultGrant(charging = true, sdk = 36))
        assertEquals(28.minutes, defaultGrant(charging = true, sdk = 31))
        assertEquals(9.5, defaultGrant(charging = true, sdk = 30).toDouble(DurationUnit.MINUTES))
        assertEquals(9.5, defaultGrant(charging = false, sdk = 36).toDouble(DurationUnit.MINUTES))
    }
}
