package org.nightgraft.android

import android.app.job.JobInfo
import android.app.job.JobScheduler
import android.content.ComponentName
import android.content.Context
import android.os.Build
import android.os.PersistableBundle
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

/** The jobs that start [service], or any of the library's, in the library's own namespace where the system has such. */
internal fun systemJobs(context: Context, service: Class<*>? = null): Jobs {
    val scheduler = context.getSystemService(JobScheduler::class.java)
    val name = service?.let { ComponentName(context, it) }
    val plain = SystemJobs(scheduler, name)
    if (Build.VERSION.SDK_INT < Build.VERSION_CODES.UPSIDE_DOWN_CAKE) return plain
    return NamespacedJobs(own = SystemJobs(scheduler.forNamespace("org.nightgraft"), name), earlier = plain)
}

/** The device's scheduler. */
private class SystemJobs(private val scheduler: JobScheduler, private val service: ComponentName?) : Jobs {
    override fun pending(jobId: Int): JobOptions? {
        val job = scheduler.getPendingJob(jobId)?.takeIf { it.extras.containsKey(JOB_ID) } ?: return null
        return if (service == null || job.service == service) jobOptions(job.extras) else null
    }

    override fun schedule(options: JobOptions, after: Duration): Boolean {
        val job = options.jobInfo(checkNotNull(service) { "a job starts a service" }, after)
        return scheduler.schedule(job) == JobScheduler.RESULT_SUCCESS
    }

    override fun cancel(jobId: Int): Unit = scheduler.cancel(jobId)
}

private fun JobOptions.jobInfo(service: ComponentName, after: Duration): JobInfo =
    JobInfo.Builder(jobId, service)
        .setRequiresCharging(charging)
        .setRequiresDeviceIdle(idle)
        .setRequiresBatteryNotLow(batteryNotLow)
        .setRequiresStorageNotLow(storageNotLow)
        .setPersisted(persisted)
        .setMinimumLatency(after.inWholeMilliseconds)
        .setExtras(toExtras())
        .build()

/** They go with the job, which may run in a later process. */
private fun JobOptions.toExtras() =
    PersistableBundle().apply {
        putInt(JOB_ID, jobId)
        putBoolean(CHARGING, charging)
        putBoolean(IDLE, idle)
        putBoolean(BATTERY, batteryNotLow)
        putBoolean(STORAGE, storageNotLow)
        putBoolean(PERSISTED, persisted)
        putLong(PAUSE, pause.inWholeMilliseconds)
    }

internal fun jobOptions(extras: PersistableBundle): JobOptions {
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

private const val JOB_ID = "jobId"
private const val CHARGING = "charging"
private const val IDLE = "idle"
private const val BATTERY = "batteryNotLow"
private const val STORAGE = "storageNotLow"
private const val PERSISTED = "persisted"
private const val PAUSE = "pauseMilliseconds"
