package androidx.work

import java.time.Duration
import java.util.UUID

public class Constraints internal constructor() {
    public class Builder {
        public fun setRequiresCharging(requiresCharging: Boolean): Builder = TODO()

        public fun setRequiresDeviceIdle(requiresDeviceIdle: Boolean): Builder = TODO()

        public fun setRequiresBatteryNotLow(requiresBatteryNotLow: Boolean): Builder = TODO()

        public fun setRequiresStorageNotLow(requiresStorageNotLow: Boolean): Builder = TODO()

        public fun build(): Constraints = TODO()
    }
}

public abstract class WorkRequest internal constructor() {
    public abstract class Builder<B : Builder<B, *>, W : WorkRequest> internal constructor() {
        public fun setId(id: UUID): B = TODO()

        public fun setConstraints(constraints: Constraints): B = TODO()

        public fun setInputData(inputData: Data): B = TODO()

        public fun build(): W = TODO()
    }
}

public class OneTimeWorkRequest internal constructor() : WorkRequest() {
    public class Builder(workerClass: Class<out ListenableWorker>) : WorkRequest.Builder<Builder, OneTimeWorkRequest>()
}

public class PeriodicWorkRequest internal constructor() : WorkRequest() {
    public class Builder(workerClass: Class<out ListenableWorker>, repeatInterval: Duration) :
        WorkRequest.Builder<Builder, PeriodicWorkRequest>() {
        public fun setNextScheduleTimeOverride(nextScheduleTimeOverrideMillis: Long): Builder =
            TODO()
    }
}

public enum class ExistingWorkPolicy {
    REPLACE,
    KEEP,
    APPEND,
    APPEND_OR_REPLACE,
}

public enum class ExistingPeriodicWorkPolicy {
    REPLACE,
    KEEP,
    UPDATE,
    CANCEL_AND_REENQUEUE,
}
