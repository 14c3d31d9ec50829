package org.nightgraft

import java.time.LocalTime
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import org.nightgraft.ffi.NightRules as FfiNightRules

/**
 * When training may run. The defaults suit a phone on its charger at night. At level [Thermal.SERIOUS] it pauses in any case,
 * for five minutes at least.
 *
 * @property chargingOnly only while a charger gives power
 * @property batteryFloor below this charge, 0 to 1, training waits, on the charger too: the owner's morning comes first
 * @property batteryResume once it waited for the battery, it goes on at this charge
 * @property respectLowPower wait while the device saves power
 * @property slowFromCelsius from this temperature on it works a part of the time only, less the warmer it is
 * @property pauseAtCelsius at this temperature it pauses
 * @property resumeAtCelsius once it paused, it goes on at this temperature
 * @property idleOnly only while nobody uses the device
 * @property idleGrace after use, the device must be left alone for this long, in whole seconds
 * @property window only between these times of day; null for any time
 * @property dayBegins when the budgets of a day begin anew: noon gives a night one budget
 * @property minutesPerDay minutes of work in a day, 1 to 1440
 * @property energyWhPerDay energy in a day, in Wh; work is assumed to draw 4 W, as phones do not tell
 * @property flashBytesPerDay bytes written in a day: flash memory wears
 * @property memoryReserve bytes of memory that are left to others
 * @property storageReserve bytes of storage that are left free
 */
public class NightRules(
    public val chargingOnly: Boolean = true,
    public val batteryFloor: Double = 0.3,
    public val batteryResume: Double = 0.4,
    public val respectLowPower: Boolean = true,
    public val slowFromCelsius: Double = 37.0,
    public val pauseAtCelsius: Double = 41.0,
    public val resumeAtCelsius: Double = 38.0,
    public val idleOnly: Boolean = true,
    public val idleGrace: Duration = 60.seconds,
    public val window: NightWindow? = null,
    public val dayBegins: LocalTime = LocalTime.NOON,
    public val minutesPerDay: Int = 360,
    public val energyWhPerDay: Double = 30.0,
    public val flashBytesPerDay: Long = 4L shl 30,
    public val memoryReserve: Long = 256L shl 20,
    public val storageReserve: Long = 1L shl 30,
) {
    /** Rules for an occasion. */
    public companion object {
        /**
         * For training that the owner asks for from a screen: as the defaults, but also while somebody uses the device. Charger,
         * battery, heat, memory and budgets count as ever.
         */
        public val whileUsed: NightRules = NightRules(idleOnly = false)
    }
}

internal fun NightRules.toFfi() = checkedSettings {
    FfiNightRules(
        chargingOnly = chargingOnly,
        batteryFloor = batteryFloor,
        batteryResume = batteryResume,
        respectLowPower = respectLowPower,
        slowFromCelsius = slowFromCelsius,
        pauseAtCelsius = pauseAtCelsius,
        resumeAtCelsius = resumeAtCelsius,
        idleOnly = idleOnly,
        idleGraceSeconds = idleGrace.inWholeSeconds.unsigned("idleGrace"),
        window = window?.toFfi(),
        dayBegins = dayBegins.toFfi(),
        minutesPerDay = minutesPerDay.unsigned("minutesPerDay"),
        energyWhPerDay = energyWhPerDay,
        flashBytesPerDay = flashBytesPerDay.unsigned("flashBytesPerDay"),
        memoryReserve = memoryReserve.unsigned("memoryReserve"),
        storageReserve = storageReserve.unsigned("storageReserve"),
    )
}
