package org.nightgraft.android

import android.os.BatteryManager
import android.os.PowerManager

/** A device on its charger, at night, of which a test changes what it likes. */
internal class FakeReadings : AndroidReadings {
    override var battery =
        FakeExtras(
            BatteryManager.EXTRA_PRESENT to true,
            BatteryManager.EXTRA_LEVEL to 80,
            BatteryManager.EXTRA_SCALE to 100,
            BatteryManager.EXTRA_PLUGGED to BatteryManager.BATTERY_PLUGGED_AC,
            BatteryManager.EXTRA_TEMPERATURE to 280,
        )
    override var isInteractive = false
    override var isDreaming = false
    override var isPowerSaveMode = false
    override var thermalStatus: Int? = PowerManager.THERMAL_STATUS_NONE
    override var headroomLimits: HeadroomLimits? = null
    override var memory = MemoryReading(available = 4L shl 30, threshold = 1L shl 28, isLow = false)
    override var processStatus = "RssAnon:\t 1024 kB\n"
    override var storageFree = 8L shl 30
    override var elapsedMillis = 0L

    /** What the next questions for the headroom are answered. */
    val headrooms = ArrayDeque<Float>()

    override fun thermalHeadroom(seconds: Int): Float? = headrooms.removeFirstOrNull()
}

/** As a `Bundle`: a value of another type than is asked for counts as missing, and each such look fills the log. */
internal class FakeExtras(vararg values: Pair<String, Any>) : Extras {
    private val values = values.toMap()
    var wrongTypes = 0
        private set

    override fun int(name: String, missing: Int) = typed(name, missing)

    override fun boolean(name: String, missing: Boolean) = typed(name, missing)

    fun with(vararg others: Pair<String, Any>) = FakeExtras(*(values + others).toList().toTypedArray())

    private inline fun <reified T : Any> typed(name: String, missing: T): T {
        val value = values[name] ?: return missing
        return value as? T ?: missing.also { wrongTypes++ }
    }
}
