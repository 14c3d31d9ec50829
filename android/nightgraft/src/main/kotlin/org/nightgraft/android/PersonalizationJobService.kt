package org.nightgraft.android

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
import org.nightgraft.Phase
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind

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
 *     override suspend fun configuration() = NightConfiguration(
 *         model = BaseModel.open(File(filesDir, "model.gguf").path),
 *         store = AdapterStore.open(
 *             File(filesDir, "store").path,
 *             StoreSettings(key = KeystoreKey(File(noBackupFilesDir, "store.key")).loadOrCreate()),
 *         ),
 *     )
 * }
 * ```
 */
public abstract class PersonalizationJobService : JobService() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val running = mutableMapOf<Int, Job>()

    /**
     * Opens what is needed. It is called at the beginning of each run, on a background thread. Return null when there is
     * nothing to do, such as without a model: the job then waits as it does after a finished session.
     */
    protected abstract suspend fun configuration(): NightConfiguration?

    /** Tells how the device is. */
    protected open fun platform(configuration: NightConfiguration): Platform =
        AndroidPlatform(this, configuration.storeFolder ?: filesDir)

    /** Is called on a thread of the library, at most five times a second. */
    protected open fun onProgress(progress: Progress) {}

    /** Is called on a background thread when a run has ended, unless the system stopped it. */
    protected open fun onOutcome(outcome: SliceOutcome) {}

    /**
     * Is called on a background thread when a run has failed. The job tries again as after a finished session, sooner if
     * somebody else had the store open.
     */
    protected open fun onFailure(error: Exception) {}

    final override fun onStartJob(params: JobParameters): Boolean {
        val previous = running[params.jobId]
        running[params.jobId] =
            scope.launch {
                // One that was stopped may still be closing its store.
                previous?.join()
                runOnce(params)
            }
        return true
    }

    final override fun onStopJob(params: JobParameters): Boolean {
        // Returns at once: the slice stops within about a quarter of a second. What the system does not wait for is
        // lost since the last save, not more.
        running[params.jobId]?.cancel()
        return true
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private suspend fun runOnce(params: JobParameters) {
        val options = JobOptions.of(params.extras)
        val pause =
            try {
                val run = configuration()?.let { runWith(it) }
                run?.outcome?.let(::onOutcome)
                pauseAfter(run, options.pause)
            } catch (stopped: CancellationException) {
                // By onStopJob, whose answer makes the system call again.
                throw stopped
            } catch (error: NightgraftException.StoreLocked) {
                // The app is busy with it.
                onFailure(error)
                PAUSE_FOR_LOCKED_STORE
            } catch (error: Exception) {
                onFailure(error)
                options.pause
            } catch (error: LinkageError) {
                onFailure(NightgraftException.Unsupported("the native library cannot be loaded", error))
                options.pause
            }
        val scheduler = getSystemService(JobScheduler::class.java)
        // One that runs counts as pending, unless it was cancelled meanwhile.
        val wanted = scheduler.getPendingJob(options.jobId) != null
        // Not the system's own rescheduling: it takes each run for a failure, and waits twice as long every time.
        jobFinished(params, false)
        // Scheduling a job that runs would stop it: first it is over, then it is there again.
        if (wanted) scheduler.schedule(options.jobInfo(this, javaClass, pause))
    }

    private suspend fun runWith(configuration: NightConfiguration): RunResult =
        configuration.useThenRelease {
            val session = PersonalizationSession.open(model, store, settings)
            var waitedFor: WaitKind? = null
            try {
                val outcome =
                    session.runNight(platform(this), rules, grant) { progress ->
                        onProgress(progress)
                        // A job that waits for hours keeps the device awake for nothing.
                        val kind = progress.waiting?.kind?.takeIf { progress.phase == Phase.WAITING && it.takesHours() }
                        if (kind != null) {
                            waitedFor = kind
                            session.stop()
                        }
                    }
                RunResult(outcome, waitedFor)
            } finally {
                withContext(NonCancellable) { session.release() }
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

/** How a run ended, and which long wait it was given up for. */
internal class RunResult(val outcome: SliceOutcome, val waitedFor: WaitKind?)

/** Whether this wait takes hours, whatever happens to the device. */
internal fun WaitKind.takesHours(): Boolean =
    when (this) {
        WaitKind.OUTSIDE_WINDOW,
        WaitKind.MINUTES_USED_UP,
        WaitKind.ENERGY_USED_UP,
        WaitKind.FLASH_USED_UP -> true
        else -> false
    }

/**
 * How long the job waits after [run], before the system's conditions count again. A session that is not over goes on; after
 * one that is ([over]), new examples may take their time.
 */
internal fun pauseAfter(run: RunResult?, over: Duration): Duration =
    when (run?.outcome) {
        is SliceOutcome.Paused -> if (run.waitedFor == null) PAUSE_BETWEEN_RUNS else PAUSE_AFTER_LONG_WAIT
        is SliceOutcome.Finished, is SliceOutcome.NothingToDo, null -> over
    }

/** Between two runs of a session: enough that one which cannot run does not keep the device busy. */
private val PAUSE_BETWEEN_RUNS = 1.minutes

/** When a job looks again that found the store open elsewhere. */
private val PAUSE_FOR_LOCKED_STORE = 15.minutes

/** When a job looks again that was given up for a long wait. */
private val PAUSE_AFTER_LONG_WAIT = 1.hours
