package org.nightgraft.android

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.Build
import android.os.PowerManager
import java.util.concurrent.CopyOnWriteArraySet

/** What the system tells of the device by itself. One object listens for the whole process, as long as that lives. */
internal class DeviceEvents private constructor(context: Context) {
    /** Whether the screen saver has begun, and not ended, since this object was made: the system does not answer that. */
    @Volatile
    var isDreaming = false
        private set

    /** One of `PowerManager.THERMAL_STATUS_…`; null where the system has none. */
    @Volatile
    var thermalStatus: Int? = null
        private set

    private val listeners = CopyOnWriteArraySet<Listener>()

    init {
        val filter = IntentFilter().apply { ACTIONS.forEach(::addAction) }
        // Broadcasts of the system alone: they need no flag of who may send them.
        context.registerReceiver(Receiver(), filter)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            val power = context.getSystemService(PowerManager::class.java)
            thermalStatus = power.currentThermalStatus
            power.addThermalStatusListener { status ->
                thermalStatus = status
                tell()
            }
        }
    }

    fun listen(onChange: () -> Unit): AutoCloseable {
        val listener = Listener(onChange)
        listeners += listener
        return AutoCloseable { listeners -= listener }
    }

    private fun tell() = listeners.forEach { it.onChange() }

    /** Each call of [listen] has its own, be it for the same function. */
    private class Listener(val onChange: () -> Unit)

    private inner class Receiver : BroadcastReceiver() {
        override fun onReceive(context: Context, intent: Intent) {
            when (intent.action) {
                Intent.ACTION_DREAMING_STARTED -> isDreaming = true
                Intent.ACTION_DREAMING_STOPPED -> isDreaming = false
            }
            tell()
        }
    }

    companion object {
        private val ACTIONS =
            listOf(
                Intent.ACTION_DREAMING_STARTED,
                Intent.ACTION_DREAMING_STOPPED,
                Intent.ACTION_SCREEN_ON,
                Intent.ACTION_SCREEN_OFF,
                Intent.ACTION_POWER_CONNECTED,
                Intent.ACTION_POWER_DISCONNECTED,
                PowerManager.ACTION_POWER_SAVE_MODE_CHANGED,
            )

        private var shared: DeviceEvents? = null

        @Synchronized
        fun of(context: Context): DeviceEvents =
            shared ?: DeviceEvents(context.applicationContext).also { shared = it }
    }
}
