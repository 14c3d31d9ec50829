package org.nightgraft.android

import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.ComponentName
import android.content.Context
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.nightgraft.NightgraftException
import org.nightgraft.PersonalizationSession
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome

/**
 * Personalizes at night, as a job of the system's scheduler: on the charger, while nobody uses the device, with enough
 * battery and storage. Each time that the system lets it run is one slice; it ends in time, saved, and the job schedules
 * itself again.
 *
 * An app extends it, says in [configuration] what to train, names the service in its manifest with the permission
 * `android.permission.BIND_JOB_SERVICE`, and calls [schedule] once, for instance when the app starts:
 *
 * ```kotlin
 * class NightService : PersonalizationJobService() {
 *     override suspend fun configuration() = Configuration(
 *         model = BaseModel.open(File(filesDir, "model.gguf").path),
 *         store = AdapterStore.open(File(filesDir, "store").path),
 *     )
 * }
 * ```
 */
public abstract class PersonalizationJobService : JobService() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private var running: Job? = null

    /**
     * Opens what is needed. It is called at the beginning of each run, on a background thread. Return null when there is
     * nothing to do, such as without a model: the job then waits as it does after a finished session.
     */
    protected abstract suspend fun configuration(): Configuration?

    /** Tells how the device is. */
    protected open fun platform(configuration: Configuration): Platform =
        AndroidPlatform(this, configuration.storeFolder ?: filesDir)

    /** Is called on a thread of the library, at most five times a second. */
    protected open fun onProgress(progress: Progress) {}

    /** Is called on a background thread when a run has ended, unless the system stopped it. */
    protected open fun onOutcome(outcome: SliceOutcome) {}

    /** Is called on a background thread when a run has failed. The job tries again as after a finished session. */
    protected open fun onFailure(error: Exception) {}

    final override fun onStartJob(params: JobParameters): Boolean {
        running = scope.launch { runOnce(params) }
        return true
    }

    final override fun onStopJob(params: JobParameters): Boolean {
        // Returns at once: the slice stops within about a quarter of a second. What the system does not wait for is
        // lost since the last save, not more.
        running?.cancel()
        return true
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private suspend fun runOnce(params: JobParameters) {
        val next =
            try {
                val outcome = configuration()?.let { runWith(it) }
                outcome?.let(::onOutcome)
                nextRun(outcome)
            } catch (stopped: CancellationException) {
                // By onStopJob, whose answer makes the system call again.
                throw stopped
            } catch (error: Exception) {
                onFailure(error)
                NextRun.LATER
            }
        finish(params, next)
    }

    private suspend fun runWith(configuration: Configuration): SliceOutcome =
        configuration.releasing {
            val session = PersonalizationSession.open(model, store, settings)
            try {
                session.runNight(platform(this), rules, grant, onProgress = ::onProgress)
            } finally {
                withContext(NonCancellable) { session.release() }
            }
        }

    private fun finish(params: JobParameters, next: NextRun) {
        when (next) {
            NextRun.SOON -> jobFinished(params, true)
            NextRun.LATER -> {
                jobFinished(params, false)
                // Scheduling a job that runs would stop it: first it is over, then it is there again.
                val options = JobOptions.of(params.extras)
                getSystemService(JobScheduler::class.java).schedule(options.jobInfo(this, javaClass, options.pause))
            }
        }
    }

    /** Schedules jobs. */
    public companion object {
        /**
         * Schedules the job of [service], unless it is scheduled already with the same [options].
         *
         * @return whether the system accepted it; it refuses services that the manifest does not name
         */
        public fun schedule(
            context: Context,
            service: Class<out PersonalizationJobService>,
            options: JobOptions = JobOptions(),
        ): Boolean {
            val scheduler = context.getSystemService(JobScheduler::class.java)
            val pending = scheduler.getPendingJob(options.jobId)
            // A job that is scheduled anew while it runs is stopped; every start of an app would do that.
            val same = pending?.service == ComponentName(context, service) && JobOptions.of(pending.extras) == options
            return same || scheduler.schedule(options.jobInfo(context, service)) == JobScheduler.RESULT_SUCCESS
        }

        /** Takes the job back. One that runs is stopped, saved. */
        public fun cancel(context: Context, jobId: Int = JobOptions().jobId): Unit =
            context.getSystemService(JobScheduler::class.java).cancel(jobId)
    }
}

/** When a job is to run again. */
internal enum class NextRun {
    /** As soon as the system's conditions are met. */
    SOON,

    /** After [JobOptions.pause]. */
    LATER,
}

/** A session that is not over goes on; after one that is, new examples may take their time. */
internal fun nextRun(outcome: SliceOutcome?): NextRun =
    when (outcome) {
        is SliceOutcome.Paused -> NextRun.SOON
        is SliceOutcome.Finished, is SliceOutcome.NothingToDo, null -> NextRun.LATER
    }
