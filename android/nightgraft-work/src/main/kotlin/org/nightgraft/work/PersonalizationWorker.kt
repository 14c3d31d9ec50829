package org.nightgraft.work

import android.content.Context
import android.content.pm.ServiceInfo
import android.os.Build
import android.util.Log
import androidx.work.CoroutineWorker
import androidx.work.ExistingPeriodicWorkPolicy
import androidx.work.ExistingWorkPolicy
import androidx.work.ForegroundInfo
import androidx.work.WorkInfo
import androidx.work.WorkManager
import androidx.work.WorkerParameters
import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.map
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.android.AndroidPlatform
import org.nightgraft.android.NightConfiguration
import org.nightgraft.android.NightRun
import org.nightgraft.android.RunEnd
import org.nightgraft.android.RunHost
import org.nightgraft.android.RunTerms

/**
 * Personalizes as WorkManager's work: when the owner asks for it ([trainNow]), in a foreground service with a notification, and
 * at night ([schedule]), for apps that leave all their jobs to WorkManager. Others have
 * [org.nightgraft.android.PersonalizationJobService] for the nights.
 *
 * ```kotlin
 * class NotesWorker(context: Context, parameters: WorkerParameters) : PersonalizationWorker(context, parameters) {
 *     override suspend fun configuration() = NightConfiguration.open(
 *         model = File(applicationContext.noBackupFilesDir, "model.gguf"),
 *         store = File(applicationContext.noBackupFilesDir, "store"),
 *         key = KeystoreKey(File(applicationContext.noBackupFilesDir, "store.key")),
 *     )
 *
 *     override fun notice() = WorkNotice(R.drawable.notes, title = "Learning your notes", channelName = "Learning")
 * }
 * ```
 *
 * WorkManager keeps the class by its name: one that is renamed does not find its work any more.
 */
public abstract class PersonalizationWorker(context: Context, parameters: WorkerParameters) :
    CoroutineWorker(context, parameters) {
    private val order = WorkOrder.of(inputData.keyValueMap)

    /**
     * Opens what is needed. It is called at the beginning of each run, on a background thread, and has half a minute. Return
     * null when there is nothing to do, such as without a model.
     */
    protected abstract suspend fun configuration(): NightConfiguration?

    /** Tells how the device is. */
    protected open fun platform(configuration: NightConfiguration): Platform =
        AndroidPlatform(applicationContext, configuration.storeFolder ?: applicationContext.filesDir)

    /** Describes the notification of [trainNow], for which it has to be overridden. Nights show none. */
    protected open fun notice(): WorkNotice =
        throw NotImplementedError("${javaClass.name} trains now: it has to override notice()")

    /** Is called on a thread of the library, at most five times a second. What it throws ends the run, saved. */
    protected open fun onProgress(progress: Progress) {}

    /** Is called on a background thread when a run has ended, unless it was stopped. */
    protected open fun onOutcome(outcome: SliceOutcome) {}

    /** Is called on a background thread when a run has failed; if nobody overrides it, it writes to the log. */
    protected open fun onFailure(error: Exception) {
        Log.w("Nightgraft", "training has failed", error)
    }

    /**
     * Is called on a background thread when a run was stopped. WorkManager begins it again, unless the app took it back.
     * [org.nightgraft.AdapterStore.nights] tells of it later.
     *
     * @param reason one of `WorkInfo.STOP_REASON_…`; unknown before Android 12
     */
    protected open fun onStopped(reason: Int) {}

    final override suspend fun doWork(): Result =
        try {
            when (WorkRun(order, Manager(), Build.VERSION.SDK_INT, ::train).work()) {
                WorkEnd.DONE -> Result.success()
                WorkEnd.AGAIN -> Result.retry()
                WorkEnd.FAILED -> Result.failure()
            }
        } catch (stopped: CancellationException) {
            whyStopped()?.let { onStopped(it) }
            throw stopped
        }

    final override suspend fun getForegroundInfo(): ForegroundInfo = foregroundInfo(progress = null)

    private suspend fun train(terms: RunTerms, onProgress: (Progress) -> Unit): RunEnd =
        NightRun(javaClass.name, terms, Host(onProgress)).use()

    private fun whyStopped(): Int? =
        when {
            !isStopped -> null
            Build.VERSION.SDK_INT >= Build.VERSION_CODES.S -> stopReason
            else -> WorkInfo.STOP_REASON_UNKNOWN
        }

    private fun foregroundInfo(progress: Progress?): ForegroundInfo {
        val notice = notice()
        val stop = WorkManager.getInstance(applicationContext).createCancelPendingIntent(id)
        val notification = notice.notification(applicationContext, progress, stop)
        val hasType = Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q
        val type = (order as? WorkOrder.Now)?.serviceType
        return if (hasType && type != null) ForegroundInfo(notice.notificationId, notification, type)
        else ForegroundInfo(notice.notificationId, notification)
    }

    private inner class Host(private val shown: (Progress) -> Unit) : RunHost {
        override val stopReason get() = whyStopped()

        override suspend fun configuration() = this@PersonalizationWorker.configuration()

        override fun platform(configuration: NightConfiguration) = this@PersonalizationWorker.platform(configuration)

        override fun onProgress(progress: Progress) {
            shown(progress)
            this@PersonalizationWorker.onProgress(progress)
        }

        override fun onOutcome(outcome: SliceOutcome) = this@PersonalizationWorker.onOutcome(outcome)

        override fun onFailure(error: Exception) = this@PersonalizationWorker.onFailure(error)
    }

    private inner class Manager : WorkSystem {
        private val manager = WorkManager.getInstance(applicationContext)

        override val attempt get() = runAttemptCount

        override suspend fun showInForeground(progress: Progress?) = setForeground(foregroundInfo(progress))

        override suspend fun tell(progress: Progress) = setProgress(WorkProgress(progress).toMap().toData())

        override fun postpone(pause: Duration) {
            val night = order as? WorkOrder.Night ?: return
            val due = System.currentTimeMillis() + pause.inWholeMilliseconds
            val worker = this@PersonalizationWorker.javaClass
            // An update brings nothing back that was cancelled, and leaves a run alone.
            manager.updateWork(nightRequest(worker, night).setId(id).setNextScheduleTimeOverride(due).build())
        }

        override fun takeBack() {
            manager.cancelWorkById(id)
        }

        override fun log(refusal: Exception) {
            Log.i("Nightgraft", "training cannot be shown", refusal)
        }
    }

    /** Has WorkManager run it. */
    public companion object {
        /**
         * Trains at once, in a foreground service with a notification; training that waits or runs already begins anew where it
         * was saved. To be called while the app is in front. From the background, or when the day's hours of such services are
         * used up, it trains as other work does, for ten minutes at a time.
         *
         * What it has to wait for, such as the charger, is left to the nights: it ends then.
         *
         * @param serviceType the type of the service, one of `ServiceInfo.FOREGROUND_SERVICE_TYPE_…`
         * @throws IllegalStateException if the manifest does not give WorkManager's service this type
         */
        public fun trainNow(
            context: Context,
            worker: Class<out PersonalizationWorker>,
            serviceType: Int = ServiceInfo.FOREGROUND_SERVICE_TYPE_DATA_SYNC,
        ) {
            requireServiceType(serviceType, declaredServiceTypes(context))
            val request = nowRequest(worker, WorkOrder.Now(serviceType))
            WorkManager.getInstance(context).enqueueUniqueWork(NOW, ExistingWorkPolicy.REPLACE, request)
        }

        /** Ends what [trainNow] began, saved. */
        public fun stopNow(context: Context) {
            WorkManager.getInstance(context).cancelUniqueWork(NOW)
        }

        /** Tells how far it is what [trainNow] began; null while it does not run. */
        public fun progress(context: Context): Flow<WorkProgress?> =
            WorkManager.getInstance(context).getWorkInfosForUniqueWorkFlow(NOW).map { infos ->
                infos.find { it.state == WorkInfo.State.RUNNING }?.let { WorkProgress.of(it.progress.keyValueMap) }
            }

        /**
         * Has nights begin under these [conditions]. A night that is scheduled stays so, and one that runs goes on, with the new
         * conditions the next time.
         */
        public fun schedule(
            context: Context,
            worker: Class<out PersonalizationWorker>,
            conditions: NightConditions = NightConditions(),
        ) {
            val request = nightRequest(worker, WorkOrder.Night(conditions)).build()
            WorkManager.getInstance(context)
                .enqueueUniquePeriodicWork(NIGHTS, ExistingPeriodicWorkPolicy.UPDATE, request)
        }

        /** Takes the nights back. One that runs is stopped, saved. */
        public fun cancel(context: Context) {
            WorkManager.getInstance(context).cancelUniqueWork(NIGHTS)
        }
    }
}
