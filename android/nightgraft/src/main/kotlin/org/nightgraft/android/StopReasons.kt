package org.nightgraft.android

import android.app.job.JobParameters
import org.nightgraft.Interruption

/**
 * What the system means by one of `JobParameters.STOP_REASON_…`, or of `WorkInfo.STOP_REASON_…`, which are the same and some more;
 * null for the app itself.
 */
internal fun interruptionOf(stopReason: Int): Interruption? =
    when (stopReason) {
        JobParameters.STOP_REASON_CANCELLED_BY_APP -> null
        JobParameters.STOP_REASON_TIMEOUT, WORK_FOREGROUND_SERVICE_TIMEOUT -> Interruption.TIME_UP
        JobParameters.STOP_REASON_CONSTRAINT_CHARGING -> Interruption.NOT_CHARGING
        JobParameters.STOP_REASON_CONSTRAINT_DEVICE_IDLE -> Interruption.IN_USE
        JobParameters.STOP_REASON_CONSTRAINT_BATTERY_NOT_LOW -> Interruption.BATTERY_LOW
        JobParameters.STOP_REASON_CONSTRAINT_STORAGE_NOT_LOW -> Interruption.STORAGE_LOW
        JobParameters.STOP_REASON_PREEMPT,
        JobParameters.STOP_REASON_DEVICE_STATE,
        JobParameters.STOP_REASON_SYSTEM_PROCESSING -> Interruption.PREEMPTED
        JobParameters.STOP_REASON_QUOTA,
        JobParameters.STOP_REASON_BACKGROUND_RESTRICTION,
        JobParameters.STOP_REASON_APP_STANDBY -> Interruption.RESTRICTED
        JobParameters.STOP_REASON_USER -> Interruption.USER
        else -> Interruption.UNKNOWN
    }

/** `WorkInfo.STOP_REASON_FOREGROUND_SERVICE_TIMEOUT` */
private const val WORK_FOREGROUND_SERVICE_TIMEOUT = -128
