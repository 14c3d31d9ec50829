package org.nightgraft.work

import androidx.work.Constraints
import androidx.work.Data
import androidx.work.OneTimeWorkRequest
import androidx.work.PeriodicWorkRequest
import kotlin.time.toJavaDuration

/** The names of the two pieces of work. Each is there once at most. */
internal const val NIGHTS = "org.nightgraft.nights"
internal const val NOW = "org.nightgraft.now"

/** Nights recur, by themselves after each pause and otherwise as each run says. */
internal fun nightRequest(
    worker: Class<out PersonalizationWorker>,
    order: WorkOrder.Night,
): PeriodicWorkRequest.Builder {
    val conditions = order.conditions
    return PeriodicWorkRequest.Builder(worker, conditions.pause.coerceAtLeast(SHORTEST_PERIOD).toJavaDuration())
        .setConstraints(
            Constraints.Builder()
                .setRequiresCharging(conditions.charging)
                .setRequiresDeviceIdle(conditions.idle)
                .setRequiresBatteryNotLow(conditions.batteryNotLow)
                .setRequiresStorageNotLow(conditions.storageNotLow)
                .build()
        )
        .setInputData(order.toMap().toData())
}

/**
 * What the owner has asked for begins at once, and says itself what it has to wait for. It is not expedited: the system gives
 * expedited work minutes, and it could wait for no charger.
 */
internal fun nowRequest(worker: Class<out PersonalizationWorker>, order: WorkOrder.Now): OneTimeWorkRequest =
    OneTimeWorkRequest.Builder(worker).setInputData(order.toMap().toData()).build()

internal fun Map<String, Any?>.toData(): Data = Data.Builder().putAll(this).build()
