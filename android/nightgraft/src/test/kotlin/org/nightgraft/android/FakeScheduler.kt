package org.nightgraft.android

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch

/** A service of the app's, which the scheduler makes for each job and takes away after it. */
internal interface FakeService {
    fun onStartJob(job: StartedJob)

    fun onStopJob(job: StartedJob)

    fun onDestroy()
}

/** A job that runs: the device is awake for it. */
internal class StartedJob(val options: JobOptions, val service: FakeService, val startedAt: Duration)

/**
 * As Android's `JobScheduler`, with one namespace, on a clock that [now] reads. What is said of a job that ends goes by way of the
 * app's main thread, as that of `JobService.jobFinished` does; all else is at once.
 */
internal class FakeScheduler(scope: CoroutineScope, private val now: () -> Duration) : Jobs, NightSystem<StartedJob> {
    /** Makes the app's service, and starts its process before if it does not run. */
    lateinit var makeService: () -> FakeService

    /** Hears of each job that ends, in whatever way. */
    var onEnd: (StartedJob) -> Unit = {}

    /** Which conditions of a job the device meets. */
    var isCharging = true
    var isIdle = true

    val pending: Set<Int> get() = requests.keys
    var running: StartedJob? = null
        private set
    var starts = 0
        private set

    /** How often scheduling a job has stopped it. */
    var stoppedByScheduling = 0
        private set

    /** How long the device was kept awake, without the job that runs. */
    var awake = Duration.ZERO
        private set

    private class Request(val options: JobOptions, val notBefore: Duration)

    private val requests = mutableMapOf<Int, Request>()
    private val main = Channel<() -> Unit>(Channel.UNLIMITED)

    init {
        scope.launch {
            for (work in main) {
                delay(MAIN_THREAD)
                work()
            }
        }
    }

    override val jobs: Jobs get() = this

    override fun pending(jobId: Int) = requests[jobId]?.options

    override fun schedule(options: JobOptions, after: Duration): Boolean {
        if (running?.options?.jobId == options.jobId) {
            stoppedByScheduling++
            stop()
        }
        requests[options.jobId] = Request(options, now() + after)
        return true
    }

    override fun cancel(jobId: Int) {
        if (running?.options?.jobId == jobId) stop()
        requests.remove(jobId)
    }

    override fun finished(job: StartedJob, again: Boolean) = post {
        if (running === job) {
            if (again) requests[job.options.jobId] = Request(job.options, now() + BACKOFF)
            else requests.remove(job.options.jobId)
            end()
        }
    }

    override fun post(work: () -> Unit) {
        main.trySend(work)
    }

    /** Starts what may start, and stops what may not run any more. */
    fun look() {
        val job = running
        if (job != null) {
            if (!meets(job.options) || now() - job.startedAt >= LONGEST_JOB) stop()
            return
        }
        val request = requests.values.firstOrNull { meets(it.options) && now() >= it.notBefore } ?: return
        starts++
        val started = StartedJob(request.options, makeService(), now())
        running = started
        started.service.onStartJob(started)
    }

    /** Stops the job that runs; its service says that it shall come again. */
    fun stop() {
        val job = running ?: return
        requests[job.options.jobId] = Request(job.options, now() + BACKOFF)
        job.service.onStopJob(job)
        end()
    }

    /** The app's process is gone, with all that waited for its main thread. */
    fun processDied() {
        while (main.tryReceive().isSuccess) Unit
        val job = running ?: return
        requests[job.options.jobId] = Request(job.options, now() + BACKOFF)
        end(destroy = false)
    }

    private fun meets(options: JobOptions) = (isCharging || !options.charging) && (isIdle || !options.idle)

    private fun end(destroy: Boolean = true) {
        val job = running ?: return
        running = null
        awake += now() - job.startedAt
        onEnd(job)
        if (destroy) job.service.onDestroy()
    }

    private companion object {
        val MAIN_THREAD = 5.milliseconds
        val BACKOFF = 30.seconds
        val LONGEST_JOB = 30.minutes
    }
}
