package org.nightgraft

import java.time.LocalTime
import java.time.temporal.ChronoUnit

/**
 * The time of day between which training may run, such as from 22:00 to 7:00. It counts in whole minutes.
 *
 * @property begins when it begins, in the device's local time
 * @property ends when it ends: before [begins] if it goes over midnight. It cannot be the same.
 */
public data class NightWindow(val begins: LocalTime, val ends: LocalTime) {
    internal fun toFfi() = "${begins.toFfi()}-${ends.toFfi()}"
}

internal fun LocalTime.toFfi() = truncatedTo(ChronoUnit.MINUTES).toString()
