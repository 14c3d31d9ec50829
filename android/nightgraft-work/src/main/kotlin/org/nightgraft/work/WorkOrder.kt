package org.nightgraft.work

import kotlin.time.Duration.Companion.milliseconds

/** What a worker is to do. WorkManager keeps it as pairs of names and values, for a later process too. */
internal sealed interface WorkOrder {
    fun toMap(): Map<String, Any>

    /** Uses a grant of a night, under these conditions. */
    class Night(val conditions: NightConditions) : WorkOrder {
        override fun toMap(): Map<String, Any> =
            mapOf(
                CHARGING to conditions.charging,
                IDLE to conditions.idle,
                BATTERY to conditions.batteryNotLow,
                STORAGE to conditions.storageNotLow,
                PAUSE to conditions.pause.inWholeMilliseconds,
            )
    }

    /** Trains because the owner asked for it, if it can in a foreground service of this type. */
    class Now(val serviceType: Int) : WorkOrder {
        override fun toMap(): Map<String, Any> = mapOf(SERVICE_TYPE to serviceType)
    }

    companion object {
        /** What [toMap] made pairs of. */
        fun of(map: Map<String, Any?>): WorkOrder {
            (map[SERVICE_TYPE] as? Int)?.let { return Now(it) }
            val defaults = NightConditions()
            return Night(
                NightConditions(
                    charging = map[CHARGING] as? Boolean ?: defaults.charging,
                    idle = map[IDLE] as? Boolean ?: defaults.idle,
                    batteryNotLow = map[BATTERY] as? Boolean ?: defaults.batteryNotLow,
                    storageNotLow = map[STORAGE] as? Boolean ?: defaults.storageNotLow,
                    pause = (map[PAUSE] as? Long)?.milliseconds ?: defaults.pause,
                )
            )
        }

        private const val CHARGING = "charging"
        private const val IDLE = "idle"
        private const val BATTERY = "batteryNotLow"
        private const val STORAGE = "storageNotLow"
        private const val PAUSE = "pauseMilliseconds"
        private const val SERVICE_TYPE = "serviceType"
    }
}
