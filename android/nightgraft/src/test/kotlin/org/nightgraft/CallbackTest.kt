package org.nightgraft

import java.nio.file.Path
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

/** What the library calls in the app, and what it does when that fails. */
internal class CallbackTest {
    @TempDir lateinit var folder: Path

    private class MadeUpFailure : RuntimeException("made up")

    private val onCharger =
        DeviceState(
            charging = true,
            battery = 0.9,
            thermal = Thermal.NOMINAL,
            temperature = 25.0,
            lowPowerMode = false,
            idle = true,
            memoryAvailable = 4L shl 30,
            storageFree = 64L shl 30,
        )
    private val eager = NightRules(idleGrace = 0.seconds)

    private fun withSession(settings: SessionSettings = ENDLESS, work: suspend SessionFixture.() -> Unit) =
        runBlocking(Dispatchers.Default) { SessionFixture.with(folder, settings) { work() } }

    @Test
    fun `a listener hears each phase, not too often, from one thread`() = withSession(SHORT) {
        val heard = CopyOnWriteArrayList<Triple<Progress, String, TimeSource.Monotonic.ValueTimeMark>>()
        val outcome = session.runSlice {
            heard += Triple(it, Thread.currentThread().name, TimeSource.Monotonic.markNow())
        }
        assertTrue(outcome is SliceOutcome.Finished, "$outcome")
        val phases = heard.map { it.first.phase }
        assertEquals(listOf(Phase.TRAINING, Phase.JUDGING, Phase.FINISHED), (phases.distinct() - Phase.PREPARING))
        assertEquals(Phase.FINISHED, phases.last())
        assertEquals(6L to 6L, heard.last().first.let { it.step to it.totalSteps })
        heard.zipWithNext().filter { (a, b) -> a.first.phase == b.first.phase }.forEach { (a, b) ->
            assertTrue(b.third - a.third > 150.milliseconds, "twice in ${b.third - a.third}")
        }
        assertEquals(session.report, (outcome as SliceOutcome.Finished).report)
        assertEquals(6, outcome.report.steps)
    }

    @Test
    fun `a listener that throws stops the slice, saved, and its exception is the cause`() = withSession {
        repeat(3) { round ->
            val error = assertThrows<NightgraftException.Cancelled> {
                runBlocking { session.runSlice { if (it.step > 0) throw MadeUpFailure() } }
            }
            assertTrue(error.chain().any { it is MadeUpFailure }, "round $round: ${error.chain()}")
        }
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(100.milliseconds))
    }

    @Test
    fun `an error in a listener is no worse than an exception`() = withSession {
        val error = assertThrows<NightgraftException.Cancelled> {
            runBlocking { session.runSlice { throw AssertionError("made up") } }
        }
        assertTrue(error.chain().any { it is AssertionError }, "${error.chain()}")
    }

    @Test
    fun `a night trains while the device is ready`() = withSession {
        val outcome = session.runNight({ onCharger }, eager, grant = 1.seconds)
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), outcome)
        assertTrue(session.progress.step > 0)
    }

    @Test
    fun `a night waits, says why, and looks again when told`() = withSession {
        var device = onCharger.copy(charging = false)
        val waits = CopyOnWriteArrayList<WaitKind>()
        val steps = CopyOnWriteArrayList<Long>()
        coroutineScope {
            val night = async {
                session.runNight({ device }, eager) { progress ->
                    if (progress.phase == Phase.WAITING) progress.waiting?.let { waits += it.kind }
                    steps += progress.step
                }
            }
            eventually("it waits") { waits.isNotEmpty() }
            assertEquals(0, steps.max())
            device = onCharger
            session.deviceChanged()
            eventually("it trains") { steps.max() > 0 }
            session.stop()
            assertEquals(SliceOutcome.Paused(PauseReason.Stopped), night.await())
        }
        assertEquals(setOf(WaitKind.NOT_CHARGING), waits.toSet())
    }

    @Test
    fun `a platform that throws ends the night, and its exception is the cause`() = withSession {
        val error = assertThrows<NightgraftException.Cancelled> {
            runBlocking { session.runNight({ throw MadeUpFailure() }, eager, grant = 10.seconds) }
        }
        assertTrue(error.chain().any { it is MadeUpFailure }, "${error.chain()}")
    }

    @Test
    fun `readings that cannot be true never train`() = withSession {
        val nonsense = listOf(onCharger.copy(battery = Double.NaN), onCharger.copy(temperature = -300.0))
        for (state in nonsense) {
            val waits = CopyOnWriteArrayList<WaitKind>()
            session.runNight({ state }, eager, grant = 1.seconds) { it.waiting?.let { wait -> waits += wait.kind } }
            assertEquals(setOf(WaitKind.UNREADABLE), waits.toSet(), "$state")
        }
        assertEquals(0, session.progress.step)
    }

    @Test
    fun `rules that make no sense are refused`() = withSession {
        val bad = listOf(eager.copy(window = "22-7"), eager.copy(batteryFloor = 2.0), eager.copy(minutesPerDay = -1))
        for (rules in bad) {
            assertThrows<NightgraftException.Unsupported>("$rules") {
                runBlocking { session.runNight({ onCharger }, rules, grant = 1.seconds) }
            }
        }
    }
}
