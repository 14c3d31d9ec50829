package org.nightgraft

import java.nio.file.Path
import java.time.OffsetDateTime
import java.time.ZoneOffset
import java.util.concurrent.atomic.AtomicReference
import kotlin.time.Duration
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

internal class NightRecordTest {
    @TempDir lateinit var folder: Path

    /** A phone on its charger, one hour past midnight of a day in November. */
    private fun device(day: Int) =
        DeviceState(
            charging = true,
            battery = 0.9,
            thermal = Thermal.NOMINAL,
            temperature = 25.0,
            lowPowerMode = false,
            idle = true,
            memoryAvailable = 4L shl 30,
            storageFree = 64L shl 30,
            time = OffsetDateTime.of(2026, 11, day, 1, 0, 0, 0, ZoneOffset.UTC),
        )

    @Test
    fun `what became of each night is kept, and told while one goes on`() = runBlocking(Dispatchers.Default) {
        SessionFixture.with(folder, SHORT) {
            assertEquals(emptyList<NightRecord>(), store.nights())
            val latch = ProgressLatch()
            coroutineScope {
                val night = async { session.runNight({ device(1).copy(charging = false) }, onProgress = latch) }
                latch.await { it.phase == Phase.WAITING }
                session.stop()
                assertEquals(SliceOutcome.Paused(PauseReason.Stopped), night.await())
            }
            val meanwhile = AtomicReference<NightRecord>()
            val finished =
                session.runNight({ device(2) }, NightRules(idleGrace = 0.seconds)) {
                    if (it.step > 0) meanwhile.compareAndSet(null, runBlocking { store.nights().last() })
                }
            session.runNight({ device(3) })

            assertNull(meanwhile.get().end, "it goes on")
            val (waited, trained, idle) = store.nights()
            assertEquals(listOf(1, 2, 3).map { device(it).time.toInstant() }, store.nights().map { it.began })
            assertEquals(listOf(WaitKind.NOT_CHARGING), waited.waits.map { it.kind })
            assertEquals(NightEnd.Stopped to 0L, waited.end to waited.steps)
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
