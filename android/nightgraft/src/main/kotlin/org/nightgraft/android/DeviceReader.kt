package org.nightgraft.android

import android.os.BatteryManager
import android.os.PowerManager
import java.time.OffsetDateTime
import org.nightgraft.DeviceState
import org.nightgraft.Platform
import org.nightgraft.Thermal

/** What Android says of the device, in its own numbers. */
internal interface AndroidReadings {
    /** The last broadcast about the battery. */
    val battery: Extras

    /** Whether the screen is on, be it for the screen saver alone. */
    val isInteractive: Boolean

    /** Whether the screen saver is known to run. */
    val isDreaming: Boolean

    val isPowerSaveMode: Boolean

    /** One of `PowerManager.THERMAL_STATUS_…`; null where the system has none. */
    val thermalStatus: Int?

    /** Where the system begins to throttle; null where it does not say. */
    val headroomLimits: HeadroomLimits?

    /** Bytes that are free, and the mark below which the system ends processes. */
    val memory: MemoryReading

    /** The kernel's status file of this process. */
    val processStatus: String

    val storageFree: Long

    /** A clock that never jumps, in milliseconds. */
    val elapsedMillis: Long

    /** The headroom in [seconds], of which 1 is where severe throttling begins; null where the system has none. */
    fun thermalHeadroom(seconds: Int): Float?
}

/** A broadcast's values. One of another type than is asked for counts as missing. */
internal interface Extras {
    fun int(name: String, missing: Int): Int

    fun boolean(name: String, missing: Boolean): Boolean
}

/** The memory of all processes. */
internal class MemoryReading(val available: Long, val threshold: Long, val isLow: Boolean)

/** Makes of what Android says what the library wants to know. */
internal class DeviceReader(private val readings: AndroidReadings) : Platform {
    @Volatile private var headroom: Headroom? = null

    override fun state(): DeviceState {
        val battery = batteryReading(readings.battery)
        val memory = readings.memory
        return DeviceState(
            charging = battery.charging,
            battery = battery.charge,
            thermal = thermal(),
            temperature = battery.celsius,
            lowPowerMode = readings.isPowerSaveMode,
            // A clock beside the bed is a screen that is on, and nobody who uses it.
            idle = !readings.isInteractive || readings.isDreaming,
            memoryAvailable =
                memoryForTraining(memory.available, memory.threshold, memory.isLow, residentBytes(readings.processStatus)),
            storageFree = readings.storageFree,
            time = OffsetDateTime.now(),
        )
    }

    private fun thermal(): Thermal {
        val status = readings.thermalStatus?.let(::thermalOfStatus) ?: Thermal.NOMINAL
        val limits = readings.headroomLimits ?: HeadroomLimits()
        return maxOf(status, currentHeadroom()?.let { thermalOfHeadroom(it, limits) } ?: Thermal.NOMINAL)
    }

    /** Asked again within some seconds, the system answers NaN, which says nothing: what it said last counts meanwhile. */
    private fun currentHeadroom(): Float? {
        val now = readings.elapsedMillis
        headroom?.takeIf { now - it.at < HEADROOM_KEPT_MILLIS }?.let { return it.value }
        return readings.thermalHeadroom(HEADROOM_SECONDS)?.also { headroom = Headroom(now, it) }
    }

    private class Headroom(val at: Long, val value: Float)

    private companion object {
        /** How far ahead the system is asked to look. */
        const val HEADROOM_SECONDS = 10

        /** How long an answer counts. */
        const val HEADROOM_KEPT_MILLIS = 10_000
    }
}

/**
 * Takes the device for idle: the system's scheduler has made sure of it, and stops a job when that ends, or its user does not mind
 * the training.
 */
internal class IdlePlatform(private val platform: Platform) : Platform {
    override fun state(): DeviceState =
        platform.state().run {
            DeviceState(
                charging = charging,
                battery = battery,
                thermal = thermal,
                temperature = temperature,
                lowPowerMode = lowPowerMode,
                idle = true,
                memoryAvailable = memoryAvailable,
                storageFree = storageFree,
                time = time,
            )
        }
}

/** What the battery's broadcast says. */
internal data class BatteryReading(val charging: Boolean, val charge: Double, val celsius: Double?)

internal fun batteryReading(extras: Extras): BatteryReading {
    val level = extras.int(BatteryManager.EXTRA_LEVEL, -1)
    val scale = extras.int(BatteryManager.EXTRA_SCALE, -1)
    val tenths = extras.int(BatteryManager.EXTRA_TEMPERATURE, Int.MIN_VALUE)
    return BatteryReading(
        charging = extras.int(BatteryManager.EXTRA_PLUGGED, 0) != 0,
        charge =
            when {
                !extras.boolean(BatteryManager.EXTRA_PRESENT, true) -> 1.0
                // Not a number: the policy takes it for what it is, a reading that cannot be true.
                level < 0 || scale <= 0 -> Double.NaN
                else -> level.toDouble() / scale
            },
        celsius = if (tenths == Int.MIN_VALUE) null else tenths / 10.0,
    )
}

/** The level for one of `PowerManager.THERMAL_STATUS_…`; from moderate on the system slows itself down. */
internal fun thermalOfStatus(status: Int): Thermal =
    when {
        status <= PowerManager.THERMAL_STATUS_NONE -> Thermal.NOMINAL
        status == PowerManager.THERMAL_STATUS_LIGHT -> Thermal.FAIR
        status == PowerManager.THERMAL_STATUS_MODERATE -> Thermal.SERIOUS
        else -> Thermal.CRITICAL
    }

/** The headrooms at which a device comes to three of its thermal statuses. */
internal data class HeadroomLimits(val light: Float = 0.75f, val moderate: Float = 0.9f, val severe: Float = 1.0f) {
    companion object {
        /** What the system says, by status; it may leave some out. */
        fun of(byStatus: Map<Int, Float>): HeadroomLimits {
            val usual = HeadroomLimits()
            return HeadroomLimits(
                light = byStatus[PowerManager.THERMAL_STATUS_LIGHT] ?: usual.light,
                moderate = byStatus[PowerManager.THERMAL_STATUS_MODERATE] ?: usual.moderate,
                severe = byStatus[PowerManager.THERMAL_STATUS_SEVERE] ?: usual.severe,
            )
        }
    }
}

/** The level for a headroom. NaN, for none, is no reason to wait. */
internal fun thermalOfHeadroom(headroom: Float, limits: HeadroomLimits = HeadroomLimits()): Thermal =
    when {
        headroom >= limits.severe -> Thermal.CRITICAL
        headroom >= limits.moderate -> Thermal.SERIOUS
        headroom >= limits.light -> Thermal.FAIR
        else -> Thermal.NOMINAL
    }

/**
 * The bytes that training may have in all: what is free above the mark at which the system begins to end processes, and
 * what this process holds already. Nothing more than it holds when the system says that memory is low.
 */
internal fun memoryForTraining(free: Long, threshold: Long, low: Boolean, own: Long): Long =
    if (low) own else (free - threshold).coerceAtLeast(0) + own

/** The process's own memory, without mapped files: `RssAnon` in the kernel's status file, 0 where it has none. */
internal fun residentBytes(status: String): Long =
    status.lineSequence().firstOrNull { it.startsWith("RssAnon:") }
        ?.let { Regex("[0-9]+").find(it)?.value?.toLongOrNull() }
        ?.let { it * 1024 } ?: 0
