package org.nightgraft.testing

import java.time.OffsetDateTime
import org.nightgraft.DeviceState
import org.nightgraft.Thermal

/** A cool device on its charger that nobody uses, with room to spare: by the default rules, training may run on it. */
public val DeviceState.Companion.ready: DeviceState
    get() =
        DeviceState(
            charging = true,
            battery = 0.9,
            thermal = Thermal.NOMINAL,
            temperature = 25.0,
            lowPowerMode = false,
            idle = true,
            memoryAvailable = 4L shl 30,
            storageFree = 64L shl 30,
            time = TestClock().now,
        )

/** The same device, some of it changed. */
public fun DeviceState.copy(
    charging: Boolean = this.charging,
    battery: Double = this.battery,
    thermal: Thermal = this.thermal,
    temperature: Double? = this.temperature,
    lowPowerMode: Boolean = this.lowPowerMode,
    idle: Boolean = this.idle,
    memoryAvailable: Long = this.memoryAvailable,
    storageFree: Long = this.storageFree,
    time: OffsetDateTime = this.time,
): DeviceState =
    DeviceState(charging, battery, thermal, temperature, lowPowerMode, idle, memoryAvailable, storageFree, time)
