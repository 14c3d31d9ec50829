package org.nightgraft.android

import android.os.BatteryManager
import android.os.PowerManager
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.nightgraft.Thermal

/** What Android says, in the library's words. */
internal class ReadingsTest {
    private val readings = FakeReadings()
    private val reader = DeviceReader(readings)

    @Test
    fun `the battery's broadcast`() {
        val full =
            FakeExtras(
                BatteryManager.EXTRA_PRESENT to true,
                BatteryManager.EXTRA_LEVEL to 180,
                BatteryManager.EXTRA_SCALE to 200,
                BatteryManager.EXTRA_PLUGGED to BatteryManager.BATTERY_PLUGGED_USB,
                BatteryManager.EXTRA_TEMPERATURE to 273,
            )
        assertEquals(BatteryReading(charging = true, charge = 0.9, celsius = 27.3), batteryReading(full))
        assertEquals(0, full.wrongTypes)
        assertEquals(BatteryReading(false, Double.NaN, null), batteryReading(FakeExtras()))
        val nonsense = FakeExtras(BatteryManager.EXTRA_LEVEL to 5, BatteryManager.EXTRA_SCALE to 0)
        assertTrue(batteryReading(nonsense).charge.isNaN())
    }

    @Test
    fun `a device without a battery is full, and is asked without errors`() {
        readings.battery =
            FakeExtras(
                BatteryManager.EXTRA_PRESENT to false,
                BatteryManager.EXTRA_LEVEL to 0,
                BatteryManager.EXTRA_SCALE to 100,
                BatteryManager.EXTRA_PLUGGED to BatteryManager.BATTERY_PLUGGED_AC,
            )
        val state = reader.state()
        assertEquals(1.0 to true, state.battery to state.charging)
        assertEquals(0, readings.battery.wrongTypes)
    }

    @Test
    fun `a screen saver is no use, and a job on an idle device does not ask`() {
        assertEquals(true, reader.state().idle)
        readings.isInteractive = true
        assertEquals(false, reader.state().idle)
        assertEquals(true, IdlePlatform(reader).state().idle)
        readings.isDreaming = true
        assertEquals(true, reader.state().idle)
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
    fun `a device that says where it throttles is believed`() {
        val limits = HeadroomLimits.of(mapOf(PowerManager.THERMAL_STATUS_MODERATE to 0.8f))
        assertEquals(HeadroomLimits(light = 0.75f, moderate = 0.8f, severe = 1.0f), limits)
        readings.headrooms += 0.85f
        readings.headroomLimits = limits
        assertEquals(Thermal.SERIOUS, reader.state().thermal)
    }

    @Test
    fun `a headroom counts for ten seconds, and the worse of headroom and status counts`() {
        readings.headrooms += listOf(0.8f, 0.95f)
        assertEquals(Thermal.FAIR, reader.state().thermal)
        readings.elapsedMillis = 9_999
        assertEquals(Thermal.FAIR, reader.state().thermal)
        readings.elapsedMillis = 10_000
        assertEquals(Thermal.SERIOUS, reader.state().thermal)
        readings.thermalStatus = PowerManager.THERMAL_STATUS_SEVERE
        assertEquals(Thermal.CRITICAL, reader.state().thermal)
        readings.elapsedMillis = 20_000
        readings.thermalStatus = null
        assertEquals(Thermal.NOMINAL, reader.state().thermal)
    }

    @Test
    fun `training may have what is free, and what it holds`() {
        assertEquals(800, memoryForTraining(free = 1000, threshold = 300, low = false, own = 100))
        assertEquals(100, memoryForTraining(free = 1000, threshold = 300, low = true, own = 100))
        assertEquals(100, memoryForTraining(free = 200, threshold = 300, low = false, own = 100))
        assertEquals(12_288, residentBytes("Name:\tapp\nRssAnon:\t      12 kB\nRssFile:\t  99 kB\n"))
        assertEquals(0, residentBytes("Name:\tapp\n"))
        assertEquals((4L shl 30) - (1L shl 28) + (1L shl 20), reader.state().memoryAvailable)
    }
}
