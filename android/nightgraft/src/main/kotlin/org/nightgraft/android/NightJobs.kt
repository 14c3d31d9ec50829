package org.nightgraft.android

import android.app.job.JobParameters
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import org.nightgraft.Interruption

/** What a job asks of the system. [P] stands for a job that the system has started. */
internal interface NightSystem<P> {
    val jobs: Jobs

    /** Says that a job is over. The system hears it once the main thread comes to it. */
    fun finished(job: P, again: Boolean)

    /** Runs [work] on the main thread, after all that was left to it before. */
    fun post(work: () -> Unit)
}

/** What lives as long as the process: the system takes the service away after each job, while the job may still be saving. */
internal class NightProcess(val scope: CoroutineScope) {
    private val turns = ConcurrentHashMap<String, Mutex>()

    /** One grant after the other for a service, as only one can have its store open. */
    fun turn(service: String): Mutex = turns.getOrPut(service) { Mutex() }

    companion object {
        val shared = NightProcess(CoroutineScope(SupervisorJob() + Dispatchers.Default))
    }
}

/** Runs the jobs that the system starts for one service, and schedules the next one. */
internal class NightJobs<P>(
    private val service: String,
    private val app: NightApp,
    private val system: NightSystem<P>,
    private val process: NightProcess = NightProcess.shared,
) {
    private val running: MutableMap<Int, RunningNight> = ConcurrentHashMap()

    /** The system has started [job]. */
    fun start(job: P, options: JobOptions) {
        val night = RunningNight(app)
        night.coroutine =
            process.scope.launch {
                val pause = night.useGrant(options, process.turn(service)).next
                ensureActive()
                // The system's own rescheduling, which waits twice as long every time, is only for a process that ends now.
                system.finished(job, again = pause != null)
                // Scheduling a job that runs would stop it: first it is over, then it is there again, unless somebody took it
                // back meanwhile.
                if (pause != null) {
                    system.post { if (system.jobs.pending(options.jobId) != null) system.jobs.schedule(options, pause) }
                }
            }
        running[options.jobId] = night
    }

    /**
     * The system has stopped a job, which it will start again. The slice stops within about a quarter of a second; what the
     * system does not wait for is lost since the last save, not more.
     *
     * @param reason one of `JobParameters.STOP_REASON_…`
     */
    fun stop(jobId: Int, reason: Int) {
        running.remove(jobId)?.stop(reason)
    }

    /** The service is going away. */
    fun stopAll(): Unit = running.keys.forEach { stop(it, JobParameters.STOP_REASON_UNDEFINED) }
}

/** A job that runs. The system starts and stops jobs on the main thread. */
private class RunningNight(app: NightApp) : NightApp by app {
    lateinit var coroutine: Job

    @Volatile
    override var interruption: Interruption? = null
        private set

    fun stop(reason: Int) {
        interruption = interruptionOf(reason)
        coroutine.cancel()
    }
}
