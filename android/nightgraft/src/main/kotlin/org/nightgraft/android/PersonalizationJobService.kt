package org.nightgraft.android

import android.app.job.JobParameters
import android.app.job.JobService
import android.content.Context
import android.os.Build
import android.os.Handler
import android.os.Looper
import android.util.Log
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome

/**
 * Personalizes at night, as a job of the system's scheduler: on the charger, while nobody uses the device, with enough
 * battery and storage. Each time that the system lets it run is one slice; it ends in time, saved, and the job schedules
 * itself again. While it cannot train it keeps the device awake for two minutes at most, and comes back later.
 *
 * An app extends it, says in [configuration] what to train, names the service in its manifest with the permission
 * `android.permission.BIND_JOB_SERVICE`, and calls [schedule] once, for instance when the app starts:
 *
 * ```kotlin
 * class NightService : PersonalizationJobService() {
 *     override suspend fun configuration() = NightConfiguration.open(
 *         model = File(noBackupFilesDir, "model.gguf"),
 *         store = File(noBackupFilesDir, "store"),
 *         key = KeystoreKey(File(noBackupFilesDir, "store.key")),
 *     )
 * }
 * ```
 */
public abstract class PersonalizationJobService : JobService() {
    private val nights by lazy { NightJobs(javaClass.name, App(), Scheduler()) }

    /**
     * Opens what is needed. It is called at the beginning of each run, on a background thread, and has half a minute. Return
     * null when there is nothing to do, such as without a model: the job then waits as it does after a finished session.
     */
    protected abstract suspend fun configuration(): NightConfiguration?

    /** Tells how the device is. */
    protected open fun platform(configuration: NightConfiguration): Platform =
        AndroidPlatform(this, configuration.storeFolder ?: filesDir)

    /** Is called on a thread of the library, at most five times a second. What it throws ends the run, saved. */
    protected open fun onProgress(progress: Progress) {}

    /** Is called on a background thread when a run has ended, unless the system stopped it. */
    protected open fun onOutcome(outcome: SliceOutcome) {}

    /**
     * Is called on a background thread when a run has failed; if nobody overrides it, it writes to the log. The job tries again
     * later, as `android/README.md` says for each error. After one that only the app can do something about it is over, until
     * the app calls [schedule] again.
     */
    protected open fun onFailure(error: Exception) {
        Log.w(TAG, "a night has failed", error)
    }

    /**
     * Is called on the main thread when the system stops a run; it will start it again. [org.nightgraft.AdapterStore.nights]
     * tells of it later.
     *
     * @param reason one of `JobParameters.STOP_REASON_…`; undefined before Android 12
     */
    protected open fun onStopped(reason: Int) {}

    final override fun onStartJob(params: JobParameters): Boolean {
        nights.start(params, jobOptions(params.extras))
        return true
    }

    final override fun onStopJob(params: JobParameters): Boolean {
        val hasReason = Build.VERSION.SDK_INT >= Build.VERSION_CODES.S
        val reason = if (hasReason) params.stopReason else JobParameters.STOP_REASON_UNDEFINED
        nights.stop(params.jobId, reason)
        onStopped(reason)
        return true
    }

    override fun onDestroy() {
        nights.stopAll()
        super.onDestroy()
    }

    private inner class App : NightApp {
        override suspend fun open(options: JobOptions): OpenNight? =
            configuration()?.openNight(options, Build.VERSION.SDK_INT) { platform(it) }

        override fun onProgress(progress: Progress) = this@PersonalizationJobService.onProgress(progress)

        override fun onOutcome(outcome: SliceOutcome) = this@PersonalizationJobService.onOutcome(outcome)

        override fun onFailure(error: Exception) = this@PersonalizationJobService.onFailure(error)

        override fun log(error: Exception) {
            Log.e(TAG, "the app's own code threw", error)
        }
    }

    private inner class Scheduler : NightSystem<JobParameters> {
        private val main = Handler(Looper.getMainLooper())

        override val jobs = systemJobs(applicationContext, this@PersonalizationJobService.javaClass)

        override fun finished(job: JobParameters, again: Boolean) = jobFinished(job, again)

        override fun post(work: () -> Unit) {
            main.post(work)
        }
    }

    /** Schedules jobs. */
    public companion object {
        private const val TAG = "Nightgraft"

        /**
         * Schedules the job of [service], unless it is scheduled already with the same [options].
         *
         * @return whether the system accepted it; it refuses services that the manifest does not name
         */
        public fun schedule(
            context: Context,
            service: Class<out PersonalizationJobService>,
            options: JobOptions = JobOptions(),
        ): Boolean = systemJobs(context, service).ensureScheduled(options)

        /** Takes the job back. One that runs is stopped, saved. */
        public fun cancel(context: Context, jobId: Int = JobOptions().jobId): Unit = systemJobs(context).cancel(jobId)
    }
}
