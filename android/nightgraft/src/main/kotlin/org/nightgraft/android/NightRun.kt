package org.nightgraft.android

import android.os.Build
import android.util.Log
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome

/**
 * One run of a scheduler other than the system's own, such as WorkManager's or that of a foreground service.
 * [PersonalizationJobService] does the same for the system's `JobScheduler`, and `org.nightgraft:nightgraft-work` for WorkManager.
 *
 * @param owner whose run it is: those of one owner in a process come one after the other, as only one can have its store open
 * @param terms what the scheduler grants
 * @param host the app's part
 */
public class NightRun(private val owner: String, private val terms: RunTerms, private val host: RunHost) {
    /**
     * Trains until the session or the grant is over. While it cannot train it keeps the device awake for two minutes at most. A
     * coroutine that is cancelled stops it, saved.
     */
    public suspend fun use(): RunEnd = App().useGrant(JobOptions(pause = terms.pause), NightProcess.shared.turn(owner))

    private inner class App : NightApp {
        override val interruption get() = host.stopReason?.let(::interruptionOf)

        override suspend fun open(options: JobOptions): OpenNight? = host.configuration()?.openNight(terms, host::platform)

        override fun onProgress(progress: Progress) = host.onProgress(progress)

        override fun onOutcome(outcome: SliceOutcome) = host.onOutcome(outcome)

        override fun onFailure(error: Exception) = host.onFailure(error)

        override fun log(error: Exception) {
            Log.e("Nightgraft", "the app's own code threw", error)
        }
    }
}

/**
 * What a scheduler grants a run.
 *
 * @property grant how long it lets it go on, unless [NightConfiguration.grant] says otherwise
 * @property idle whether it has made sure that nobody uses the device, and stops the run when that ends
 * @property whileUsed whether it may train while somebody uses the device, whatever the rules say of that: they asked for it
 * @property pause how long to wait after a session that is over, before there may be new examples
 */
public class RunTerms(
    public val grant: Duration,
    public val idle: Boolean = false,
    public val whileUsed: Boolean = false,
    public val pause: Duration = 6.hours,
) {
    /** What the system grants. */
    public companion object {
        /**
         * How long a job of the system's scheduler may go on, WorkManager's included.
         *
         * @param charging whether it runs on the charger only
         * @param sdk the system's API level
         */
        public fun jobGrant(charging: Boolean, sdk: Int = Build.VERSION.SDK_INT): Duration = defaultGrant(charging, sdk)
    }
}

/** The app's part of a run. It is called on background threads. */
public interface RunHost {
    /**
     * Why the scheduler has stopped the run, one of `JobParameters.STOP_REASON_…` or `WorkInfo.STOP_REASON_…`; null while it has
     * not. It is asked when the run's coroutine was cancelled, for the log of nights.
     */
    public val stopReason: Int? get() = null

    /** Opens what is needed, within half a minute; null if there is nothing to do. */
    public suspend fun configuration(): NightConfiguration?

    /** Tells how the device is. */
    public fun platform(configuration: NightConfiguration): Platform

    /** Hears of progress, at most five times a second. What it throws ends the run, saved. */
    public fun onProgress(progress: Progress)

    /** Hears how the run ended, unless it failed or was cancelled. */
    public fun onOutcome(outcome: SliceOutcome)

    /** Hears of a failure. */
    public fun onFailure(error: Exception)
}

/** How a run ended. */
public sealed interface RunEnd {
    /** How long to wait before the next run; null if there is nothing to wait for until the app has done something. */
    public val next: Duration?

    /**
     * It came to its end.
     *
     * @property outcome how; null if [RunHost.configuration] had nothing to do
     */
    public class Ended(public val outcome: SliceOutcome?, override val next: Duration) : RunEnd

    /**
     * It failed.
     *
     * @property error with what
     */
    public class Failed(public val error: Exception, override val next: Duration?) : RunEnd
}
