package org.nightgraft.android

import android.app.job.JobInfo
import android.content.ComponentName
import android.content.Context
import android.os.PersistableBundle
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds

/**
 * When the system starts a [PersonalizationJobService].
 *
 * @property jobId the job's number, which no other job of the app may have
 * @property charging only on the charger
 * @property idle only while the device has not been used for some time
 * @property batteryNotLow only while the battery is not low
 * @property storageNotLow only while storage is not low
 * @property persisted whether the job outlives a restart of the device. The library's manifest asks for the permission
 *   that this needs, `RECEIVE_BOOT_COMPLETED`.
 * @property pause how long it waits after a session that is over, before it looks for new examples
 */
public data class JobOptions(
    val jobId: Int = 0x4e47,
    val charging: Boolean = true,
    val idle: Boolean = true,
    val batteryNotLow: Boolean = true,
    val storageNotLow: Boolean = true,
    val persisted: Boolean = true,
    val pause: Duration = 6.hours,
) {
    internal fun jobInfo(context: Context, service: Class<*>, after: Duration = Duration.ZERO): JobInfo =
        JobInfo.Builder(jobId, ComponentName(context, service))
            .setRequiresCharging(charging)
            .setRequiresDeviceIdle(idle)
            .setRequiresBatteryNotLow(batteryNotLow)
            .setRequiresStorageNotLow(storageNotLow)
            .setPersisted(persisted)
            .setMinimumLatency(after.inWholeMilliseconds)
            .setExtras(toExtras())
            .build()

    /** Goes with the job, which may run in a later process. */
    internal fun toExtras(): PersistableBundle =
        PersistableBundle().apply {
            putInt(JOB_ID, jobId)
            putBoolean(CHARGING, charging)
            putBoolean(IDLE, idle)
            putBoolean(BATTERY, batteryNotLow)
            putBoolean(STORAGE, storageNotLow)
            putBoolean(PERSISTED, persisted)
            putLong(PAUSE, pause.inWholeMilliseconds)
        }

    internal companion object {
        private const val JOB_ID = "jobId"
        private const val CHARGING = "charging"
        private const val IDLE = "idle"
        private const val BATTERY = "batteryNotLow"
        private const val STORAGE = "storageNotLow"
        private const val PERSISTED = "persisted"
        private const val PAUSE = "pauseMilliseconds"

        internal fun of(extras: PersistableBundle): JobOptions {
            val defaults = JobOptions()
            return JobOptions(
                jobId = extras.getInt(JOB_ID, defaults.jobId),
                charging = extras.getBoolean(CHARGING, defaults.charging),
                idle = extras.getBoolean(IDLE, defaults.idle),
                batteryNotLow = extras.getBoolean(BATTERY, defaults.batteryNotLow),
                storageNotLow = extras.getBoolean(STORAGE, defaults.storageNotLow),
                persisted = extras.getBoolean(PERSISTED, defaults.persisted),
                pause = extras.getLong(PAUSE, defaults.pause.inWholeMilliseconds).milliseconds,
            )
        }
    }
}
