package org.nightgraft.work

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours

/**
 * When WorkManager begins a night.
 *
 * @property charging only on the charger
 * @property idle only while the device has not been used for some time
 * @property batteryNotLow only while the battery is not low
 * @property storageNotLow only while storage is not low
 * @property pause how long it waits after a session that is over, before it looks for new examples
 */
public class NightConditions(
    public val charging: Boolean = true,
    public val idle: Boolean = true,
    public val batteryNotLow: Boolean = true,
    public val storageNotLow: Boolean = true,
    public val pause: Duration = 6.hours,
)
