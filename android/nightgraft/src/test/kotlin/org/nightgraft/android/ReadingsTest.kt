package org.nightgraft.android

import android.os.BatteryManager
import android.os.PowerManager
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.nightgraft.NothingToDoReason
import org.nightgraft.PauseReason
import org.nightgraft.SessionReport
import org.nightgraft.SliceOutcome
import org.nightgraft.Thermal
import org.nightgraft.Verdict
import org.nightgraft.WaitKind

/** What Android says, in the library's words. */
internal class ReadingsTest {
    private fun battery(vararg extras: Pair<String, Int>) =
        extras.toMap().let { map -> batteryReading { name, missing -> map[name] ?: missing } }

    @Test
    fun `the battery's broadcast`() {
        val full =
            battery(
                BatteryManager.EXTRA_LEVEL to 180,
                BatteryManager.EXTRA_SCALE to 200,
                BatteryManager.EXTRA_PLUGGED to BatteryManager.BATTERY_PLUGGED_USB,
                BatteryManager.EXTRA_TEMPERATURE to 273,
            )
        assertEquals(BatteryReading(charging = true, charge = 0.9, celsius = 27.3), full)
        assertEquals(BatteryReading(false, Double.NaN, null), battery())
        assertEquals(1.0, battery(BatteryManager.EXTRA_PRESENT to 0).charge)
        assertTrue(battery(BatteryManager.EXTRA_LEVEL to 5, BatteryManager.EXTRA_SCALE to 0).charge.isNaN())
    }

    @Test
    fun `every thermal status has a level, none below the one before it`() {
        val levels = (PowerManager.THERMAL_STATUS_NONE..PowerManager.THERMAL_STATUS_SHUTDOWN).map(::thermalOfStatus)
        assertEquals(levels.sorted(), levels)
        assertEquals(listOf(Thermal.NOMINAL, Thermal.FAIR, Thermal.SERIOUS, Thermal.CRITICAL), levels.distinct())
        assertEquals(Thermal.SERIOUS, thermalOfStatus(PowerManager.THERMAL_STATUS_MODERATE))
        assertEquals(Thermal.CRITICAL, thermalOfStatus(99))
    }

    @Test
    fun `headroom without a value says nothing`() {
        assertEquals(Thermal.NOMINAL, thermalOfHeadroom(Float.NaN))
        assertEquals(Thermal.NOMINAL, thermalOfHeadroom(0.5f))
        assertEquals(Thermal.FAIR, thermalOfHeadroom(0.8f))
        assertEquals(Thermal.SERIOUS, thermalOfHeadroom(0.95f))
        assertEquals(Thermal.CRITICAL, thermalOfHeadroom(1.2f))
    }

    @Test
    fun `training may have what is free, and what it holds`() {
        assertEquals(800, memoryForTraining(free = 1000, threshold = 300, low = false, own = 100))
        assertEquals(100, memoryForTraining(free = 1000, threshold = 300, low = true, own = 100))
        assertEquals(100, memoryForTraining(free = 200, threshold = 300, low = false, own = 100))
        assertEquals(12_288, residentBytes("Name:\tapp\nRssAnon:\t      12 kB\nRssFile:\t  99 kB\n"))
        assertEquals(0, residentBytes("Name:\tapp\n"))
    }

    @Test
    fun `a job goes on, waits, or rests, as its run ended`() {
        val verdict = Verdict(true, emptyList(), 2.0, 1.0, 2.0, 2.0, "better")
        val report = SessionReport(10, 0, 2, 5, 100, false, 1, true, verdict)
        val nothing = SliceOutcome.NothingToDo(NothingToDoReason.EverythingLearned, "nothing new")
        val paused = SliceOutcome.Paused(PauseReason.Deadline)
        assertEquals(1.minutes, pauseAfter(RunResult(paused, null), 6.hours))
        assertEquals(1.hours, pauseAfter(RunResult(paused, WaitKind.OUTSIDE_WINDOW), 6.hours))
        assertEquals(6.hours, pauseAfter(RunResult(SliceOutcome.Finished(report), null), 6.hours))
        assertEquals(6.hours, pauseAfter(RunResult(nothing, null), 6.hours))
        assertEquals(6.hours, pauseAfter(null, 6.hours))
        val long = WaitKind.entries.filter { it.takesHours() }
        assertEquals(4, long.size)
        assertTrue(WaitKind.TOO_WARM !in long && WaitKind.NOT_CHARGING !in long)
    }
}
