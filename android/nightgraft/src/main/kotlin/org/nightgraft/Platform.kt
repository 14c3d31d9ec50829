package org.nightgraft

import java.time.OffsetDateTime
import org.nightgraft.ffi.DeviceState as FfiDeviceState
import org.nightgraft.ffi.Platform as FfiPlatform
import org.nightgraft.ffi.PlatformException
import org.nightgraft.ffi.Thermal as FfiThermal

/** Tells how the device is. It must not close the session that asks it, nor its store: they wait for its answer. */
public fun interface Platform {
    /**
     * Looks at the device. It is called from a thread of the library, every half second at most, and should return at
     * once. What it throws ends the night's slice, saved.
     */
    public fun state(): DeviceState
}

/**
 * One look at the device. Readings that cannot be true make training wait, never run.
 *
 * @property charging whether a charger gives power
 * @property battery the battery's charge, 0 to 1; 1 for a device without one
 * @property thermal how warm the system says that the device is
 * @property temperature the battery's temperature in °C, if there is a sensor
 * @property lowPowerMode whether the owner or the system asked to save power
 * @property idle whether nobody uses the device
 * @property memoryAvailable bytes that training may have in all: what is free, and what this process holds already
 * @property storageFree bytes that are free where the store is
 * @property time the device's clock, with its offset from UTC
 */
public class DeviceState(
    public val charging: Boolean,
    public val battery: Double,
    public val thermal: Thermal,
    public val temperature: Double?,
    public val lowPowerMode: Boolean,
    public val idle: Boolean,
    public val memoryAvailable: Long,
    public val storageFree: Long,
    public val time: OffsetDateTime = OffsetDateTime.now(),
) {
    /** Is what `nightgraft-testing` adds states for tests to. */
    public companion object
}

/** How warm the system says that the device is. */
public enum class Thermal {
    /** Nothing to mind. */
    NOMINAL,

    /** Slightly warm: work that can wait should be lighter. */
    FAIR,

    /** The system slows itself down. */
    SERIOUS,

    /** The device must cool down at once. */
    CRITICAL,
}

private fun Thermal.toFfi() =
    when (this) {
        Thermal.NOMINAL -> FfiThermal.NOMINAL
        Thermal.FAIR -> FfiThermal.FAIR
        Thermal.SERIOUS -> FfiThermal.SERIOUS
        Thermal.CRITICAL -> FfiThermal.CRITICAL
    }

internal fun DeviceState.toFfi() =
    FfiDeviceState(
        charging = charging,
        battery = battery,
        thermal = thermal.toFfi(),
        temperature = temperature,
        lowPowerMode = lowPowerMode,
        idle = idle,
        // A negative size is nonsense, and as such it counts as none.
        memoryAvailable = memoryAvailable.coerceAtLeast(0).toULong(),
        storageFree = storageFree.coerceAtLeast(0).toULong(),
        unixSeconds = time.toEpochSecond(),
        utcOffsetSeconds = time.offset.totalSeconds,
    )

/** Asks the app how the device is, and keeps what it throws: the native library is only told that it did. */
internal class PlatformRelay(private val platform: Platform) : FfiPlatform {
    @Volatile
    var thrown: Throwable? = null
        private set

    override fun state(): FfiDeviceState =
        try {
            platform.state().toFfi()
        } catch (error: Throwable) {
            thrown = error
            throw PlatformException.Failed(error.javaClass.name)
        }
}
