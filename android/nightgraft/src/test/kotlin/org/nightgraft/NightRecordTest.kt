package org.nightgraft

import java.nio.file.Path
import java.util.concurrent.atomic.AtomicReference
import kotlin.time.Duration
import kotlin.time.Duration.Companion.days
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.testing.FixedPlatform
import org.nightgraft.testing.copy
import org.nightgraft.testing.ready

internal class NightRecordTest {
    @TempDir lateinit var folder: Path

    private val device = FixedPlatform()
    private val unplugged = FixedPlatform(DeviceState.ready.copy(charging = false), device.clock)

    @Test
    fun `what became of each night is kept, and told while one goes on`() = runBlocking(Dispatchers.Default) {
        SessionFixture.with(folder, SHORT) {
            assertEquals(emptyList<NightRecord>(), store.nights())
            val began = mutableListOf(device.clock.now.toInstant())
            fun nextDay() {
                device.clock.advance(1.days)
                began += device.clock.now.toInstant()
            }
            val latch = ProgressLatch()
            coroutineScope {
                val night = async { session.runNight(unplugged, onProgress = latch) }
                latch.await { it.phase == Phase.WAITING }
                session.stop()
                assertEquals(SliceOutcome.Paused(PauseReason.Stopped), night.await())
            }
            nextDay()
            val meanwhile = AtomicReference<NightRecord>()
            val finished =
                session.runNight(device, NightRules(idleGrace = 0.seconds)) {
                    if (it.step > 0) meanwhile.compareAndSet(null, runBlocking { store.nights().last() })
                }
            nextDay()
            session.runNight(device)

            assertNull(meanwhile.get().end, "it goes on")
            val (waited, trained, idle) = store.nights()
            assertEquals(began, store.nights().map { it.began })
            assertEquals(listOf(WaitKind.NOT_CHARGING), waited.waits.map { it.kind })
            assertEquals(NightEnd.Stopped(by = null) to 0L, waited.end to waited.steps)
            val report = (finished as SliceOutcome.Finished).report
            val end = NightEnd.Finished(report.graft, report.promoted, report.verdict.refusals)
            assertEquals(end to 6L, trained.end to trained.steps)
            assertTrue(trained.running > Duration.ZERO && trained.running <= trained.duration, "$trained")
            assertTrue(idle.end is NightEnd.NothingToDo, "$idle")
            assertTrue(session.progress.estimate?.stepsLeft == 0L)
            assertTrue(report.verdict.refusals.isNotEmpty() && report.verdict.refusals.all { it.text.isNotEmpty() })
        }
    }
}
