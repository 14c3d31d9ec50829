package org.nightgraft.android

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.Build
import android.os.PowerManager
import android.os.StatFs
import android.os.SystemClock
import java.io.File
import org.nightgraft.DeviceState
import org.nightgraft.Platform

/**
 * Tells the library how this Android device is: battery, charger, temperature, thermal status and headroom, memory, power
 * save mode, use, storage and time. It needs no permission.
 *
 * A screen saver counts as idle once this process has seen it begin. One that was on before is taken for use, except by a
 * [PersonalizationJobService], whose job the system starts on an idle device.
 *
 * @param context any context; only its application is kept
 * @param folder where the store is: its file system's free space counts
 */
public class AndroidPlatform(context: Context, folder: File) : Platform {
    private val events = DeviceEvents.of(context)
    private val reader = DeviceReader(SystemReadings(context.applicationContext, folder, events))

    override fun state(): DeviceState = reader.state()

    /**
     * Calls [onChange] when the charger, the screen, the thermal status or the power save mode changes, until the result is
     * closed. [org.nightgraft.PersonalizationSession.deviceChanged] is what to call then.
     */
    public fun listen(onChange: () -> Unit): AutoCloseable = events.listen(onChange)
}

/** Asks the system. */
private class SystemReadings(
    private val context: Context,
    private val folder: File,
    private val events: DeviceEvents,
) : AndroidReadings {
    private val power = context.getSystemService(PowerManager::class.java)
    private val activities = context.getSystemService(ActivityManager::class.java)

    override val battery: Extras
        get() {
            // No receiver: this returns the last broadcast, which the system keeps.
            val last = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
            return IntentExtras(checkNotNull(last) { "the system tells nothing of the battery" })
        }

    override val isInteractive get() = power.isInteractive

    override val isDreaming get() = events.isDreaming

    override val isPowerSaveMode get() = power.isPowerSaveMode

    override val thermalStatus get() = events.thermalStatus

    override val headroomLimits by lazy {
        try {
            if (Build.VERSION.SDK_INT < Build.VERSION_CODES.VANILLA_ICE_CREAM) null
            else HeadroomLimits.of(power.thermalHeadroomThresholds)
        } catch (_: UnsupportedOperationException) {
            null // by this device
        }
    }

    override val memory: MemoryReading
        get() {
            val info = ActivityManager.MemoryInfo().also(activities::getMemoryInfo)
            return MemoryReading(info.availMem, info.threshold, info.lowMemory)
        }

    override val processStatus get() = File("/proc/self/status").readText()

    override val storageFree: Long
        get() {
            // The store's folder may not be there yet.
            val existing = generateSequence(folder.absoluteFile, File::getParentFile).first(File::exists)
            return StatFs(existing.path).availableBytes
        }

    override val elapsedMillis get() = SystemClock.elapsedRealtime()

    override fun thermalHeadroom(seconds: Int): Float? =
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) null else power.getThermalHeadroom(seconds)
}

private class IntentExtras(private val intent: Intent) : Extras {
    override fun int(name: String, missing: Int) = intent.getIntExtra(name, missing)

    override fun boolean(name: String, missing: Boolean) = intent.getBooleanExtra(name, missing)
}
