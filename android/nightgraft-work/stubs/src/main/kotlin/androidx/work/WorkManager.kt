package androidx.work

import android.app.PendingIntent
import android.content.Context
import com.google.common.util.concurrent.ListenableFuture
import java.util.UUID
import kotlinx.coroutines.flow.Flow

public interface Operation

public abstract class WorkManager internal constructor() {
    public abstract fun enqueueUniqueWork(
        uniqueWorkName: String,
        existingWorkPolicy: ExistingWorkPolicy,
        request: OneTimeWorkRequest,
    ): Operation

    public abstract fun enqueueUniquePeriodicWork(
        uniqueWorkName: String,
        existingPeriodicWorkPolicy: ExistingPeriodicWorkPolicy,
        request: PeriodicWorkRequest,
    ): Operation

    public abstract fun updateWork(request: WorkRequest): ListenableFuture<UpdateResult>

    public abstract fun cancelUniqueWork(uniqueWorkName: String): Operation

    public abstract fun cancelWorkById(id: UUID): Operation

    public abstract fun createCancelPendingIntent(id: UUID): PendingIntent

    public abstract fun getWorkInfosForUniqueWorkFlow(uniqueWorkName: String): Flow<List<WorkInfo>>

    public enum class UpdateResult {
        NOT_APPLIED,
        APPLIED_IMMEDIATELY,
        APPLIED_FOR_NEXT_RUN,
    }

    public companion object {
        @JvmStatic public fun getInstance(context: Context): WorkManager = TODO()
    }
}

public class WorkInfo internal constructor() {
    public val state: State get() = TODO()
    public val progress: Data get() = TODO()

    public enum class State {
        ENQUEUED,
        RUNNING,
        SUCCEEDED,
        FAILED,
        BLOCKED,
        CANCELLED,
    }

    public companion object {
        public const val STOP_REASON_UNKNOWN: Int = -512
    }
}
