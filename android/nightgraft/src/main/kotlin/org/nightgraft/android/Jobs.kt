package org.nightgraft.android

import kotlin.time.Duration

/** The scheduler's jobs of one [PersonalizationJobService]. */
internal interface Jobs {
    /** The options of the job that is scheduled or runs under this number; null if there is none. */
    fun pending(jobId: Int): JobOptions?

    /** Schedules a job, no sooner than [after] this time, in place of the one with its number, which is stopped if it runs. */
    fun schedule(options: JobOptions, after: Duration = Duration.ZERO): Boolean

    /** Takes a job back; one that runs is stopped. */
    fun cancel(jobId: Int)
}

/** Schedules a job unless it is there already: one that runs would be stopped by every start of the app. */
internal fun Jobs.ensureScheduled(options: JobOptions): Boolean = pending(options.jobId) == options || schedule(options)

/**
 * The jobs of a namespace of its own, [own], on a device that had none before: what was scheduled without one, in [earlier], would
 * go on beside them.
 */
internal class NamespacedJobs(private val own: Jobs, private val earlier: Jobs) : Jobs by own {
    override fun schedule(options: JobOptions, after: Duration): Boolean {
        cancelEarlier(options.jobId)
        return own.schedule(options, after)
    }

    override fun cancel(jobId: Int) {
        cancelEarlier(jobId)
        own.cancel(jobId)
    }

    private fun cancelEarlier(jobId: Int) {
        if (earlier.pending(jobId) != null) earlier.cancel(jobId)
    }
}
