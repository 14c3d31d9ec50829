package org.nightgraft.android

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours

/**
 * When the system starts a [PersonalizationJobService].
 *
 * @property jobId the job's number, which no other job of the app may have: from Android 14 on in the library's own namespace,
 *   before that below zero, where WorkManager has none
 * @property charging only on the charger
 * @property idle only while the device has not been used for some time
 * @property batteryNotLow only while the battery is not low
 * @property storageNotLow only while storage is not low
 * @property persisted whether the job outlives a restart of the device. The library's manifest asks for the permission
 *   that this needs, `RECEIVE_BOOT_COMPLETED`.
 * @property pause how long it waits after a session that is over, before it looks for new examples
 */
public class JobOptions(
    public val jobId: Int = -0x4e47,
    public val charging: Boolean = true,
    public val idle: Boolean = true,
    public val batteryNotLow: Boolean = true,
    public val storageNotLow: Boolean = true,
    public val persisted: Boolean = true,
    public val pause: Duration = 6.hours,
) {
    override fun equals(other: Any?): Boolean = other is JobOptions && values == other.values

    override fun hashCode(): Int = values.hashCode()

    private val values get() = listOf(jobId, charging, idle, batteryNotLow, storageNotLow, persisted, pause)
}
