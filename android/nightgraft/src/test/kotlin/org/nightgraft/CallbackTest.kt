package org.nightgraft

import java.nio.file.Path
import java.time.LocalTime
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicReference
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.testing.copy
import org.nightgraft.testing.ready

/** What the library calls in the app, and what it does when that fails. */
internal class CallbackTest {
    @TempDir lateinit var folder: Path

    private class MadeUpFailure : RuntimeException("made up")

    private val onCharger = DeviceState.ready
    private val eager = NightRules(idleGrace = 0.seconds)

    private fun withSession(settings: SessionSettings = ENDLESS, work: suspend SessionFixture.() -> Unit) =
        runBlocking(Dispatchers.Default) { SessionFixture.with(folder, settings) { work() } }

    @Test
    fun `a listener hears each phase, one state at a time`() = withSession(SHORT) {
        val heard = CopyOnWriteArrayList<Progress>()
        val isListening = AtomicBoolean()
        val outcome = session.runSlice {
            check(!isListening.getAndSet(true)) { "two at a time" }
            heard += it
            isListening.set(false)
        }
        assertTrue(outcome is SliceOutcome.Finished, "$outcome")
        val phases = heard.map { it.phase }
        assertEquals(listOf(Phase.TRAINING, Phase.JUDGING, Phase.FINISHED), (phases.distinct() - Phase.PREPARING))
        assertEquals(Phase.FINISHED, phases.last())
        assertEquals(6L to 6L, heard.last().let { it.step to it.totalSteps })
        assertEquals(heard.map { it.step }.sorted(), heard.map { it.step })
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
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(Duration.ZERO))
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
        val outcome = session.runNight({ onCharger }, eager) { if (it.step > 0) session.stop() }
        assertEquals(SliceOutcome.Paused(PauseReason.Stopped), outcome)
        assertTrue(session.progress.step > 0)
        assertEquals(
            SliceOutcome.Paused(PauseReason.Deadline),
            session.runNight({ onCharger }, eager, grant = Duration.ZERO),
        )
    }

    @Test
    fun `a night waits, says why, and looks again when told`() = withSession {
        val device = AtomicReference(onCharger.copy(charging = false))
        val latch = ProgressLatch()
        coroutineScope {
            val night = async { session.runNight({ device.get() }, eager, onProgress = latch) }
            val waits = latch.await { it.phase == Phase.WAITING }
            assertEquals(WaitKind.NOT_CHARGING to 0L, waits.waiting?.kind to waits.step)
            device.set(onCharger)
            session.deviceChanged()
            latch.await { it.phase == Phase.TRAINING && it.step > 0 }
            session.stop()
            assertEquals(SliceOutcome.Paused(PauseReason.Stopped), night.await())
        }
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
            session.runNight({ state }, eager) { progress ->
                progress.waiting?.let {
                    waits += it.kind
                    session.stop()
                }
            }
            assertEquals(setOf(WaitKind.UNREADABLE), waits.toSet(), "${state.battery}, ${state.temperature}")
        }
        assertEquals(0, session.progress.step)
    }

    @Test
    fun `rules that make no sense are refused`() = withSession {
        val never = NightWindow(LocalTime.MIDNIGHT, LocalTime.MIDNIGHT)
        val bad = listOf(NightRules(window = never), NightRules(batteryFloor = 2.0), NightRules(minutesPerDay = -1))
        for ((place, rules) in bad.withIndex()) {
            assertThrows<NightgraftException.Unsupported>("rules $place") {
                runBlocking { session.runNight({ onCharger }, rules, grant = 1.seconds) }
            }
        }
    }
}
