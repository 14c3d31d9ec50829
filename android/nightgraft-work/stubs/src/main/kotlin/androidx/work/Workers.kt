// The signatures of WorkManager that nightgraft-work uses, of version 2.11, as its documentation and api/current.txt have them.
package androidx.work

import android.app.Notification
import android.content.Context
import java.util.UUID

public class WorkerParameters internal constructor()

public abstract class ListenableWorker(appContext: Context, workerParams: WorkerParameters) {
    public val applicationContext: Context get() = TODO()
    public val id: UUID get() = TODO()
    public val inputData: Data get() = TODO()
    public val runAttemptCount: Int get() = TODO()
    public val isStopped: Boolean get() = TODO()
    public val stopReason: Int get() = TODO()

    public open fun onStopped(): Unit = TODO()

    public abstract class Result {
        public companion object {
            @JvmStatic public fun success(): Result = TODO()

            @JvmStatic public fun retry(): Result = TODO()

            @JvmStatic public fun failure(): Result = TODO()
        }
    }
}

public abstract class CoroutineWorker(appContext: Context, params: WorkerParameters) :
    ListenableWorker(appContext, params) {
    public abstract suspend fun doWork(): Result

    public open suspend fun getForegroundInfo(): ForegroundInfo = TODO()

    public suspend fun setProgress(data: Data): Unit = TODO()

    public suspend fun setForeground(foregroundInfo: ForegroundInfo): Unit = TODO()

    public final override fun onStopped(): Unit = TODO()
}

public class ForegroundInfo(
    public val notificationId: Int,
    public val notification: Notification,
    public val foregroundServiceType: Int,
) {
    public constructor(notificationId: Int, notification: Notification) : this(notificationId, notification, 0)
}

public class Data internal constructor() {
    public val keyValueMap: Map<String, Any?> get() = TODO()

    public class Builder {
        public fun putAll(values: Map<String, Any?>): Builder = TODO()

        public fun build(): Data = TODO()
    }
}
