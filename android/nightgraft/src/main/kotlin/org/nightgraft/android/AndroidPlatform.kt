package org.nightgraft.android

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import android.os.StatFs
import android.os.SystemClock
import java.io.File
import java.time.OffsetDateTime
import org.nightgraft.DeviceState
import org.nightgraft.Platform
import org.nightgraft.Thermal

/**
 * Tells the library how this Android device is: battery, charger, temperature, thermal status and headroom, memory, power
 * save mode, use, storage and time. It needs no permission.
 *
 * @param context any context; only its application is kept
 * @param folder where the store is: its file system's free space counts
 */
public class AndroidPlatform(context: Context, private val folder: File) : Platform {
    private val context = context.applicationContext
    private val power = this.context.getSystemService(PowerManager::class.java)
    private val activities = this.context.getSystemService(ActivityManager::class.java)
    @Volatile private var headroom: Headroom? = null

    override fun state(): DeviceState {
        val battery = battery()
        return DeviceState(
            charging = battery.charging,
            battery = battery.charge,
            thermal = thermal(),
            temperature = battery.celsius,
            lowPowerMode = power.isPowerSaveMode,
            idle = !power.isInteractive,
            memoryAvailable = memory(),
            storageFree = storage(),
            time = OffsetDateTime.now(),
        )
    }

    private fun battery(): BatteryReading {
        // No receiver: this returns the last broadcast, which the system keeps.
        val last = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        checkNotNull(last) { "the system tells nothing of the battery" }
        return batteryReading { name, missing -> last.getIntExtra(name, missing) }
    }

    private fun thermal(): Thermal {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.Q) return Thermal.NOMINAL
        val status = thermalOfStatus(power.currentThermalStatus)
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) return status
        // Asked again within some seconds, it answers NaN, which says nothing: what it said last counts meanwhile.
        val now = SystemClock.elapsedRealtime()
        val last = headroom?.takeIf { now - it.at < HEADROOM_KEPT_MILLIS }
        val current = last ?: Headroom(now, power.getThermalHeadroom(HEADROOM_SECONDS)).also { headroom = it }
        return maxOf(status, thermalOfHeadroom(current.value))
    }

    private fun memory(): Long {
        val info = ActivityManager.MemoryInfo().also(activities::getMemoryInfo)
        val own = residentBytes(File("/proc/self/status").readText())
        return memoryForTraining(info.availMem, info.threshold, info.lowMemory, own)
    }

    private fun storage(): Long {
        // The store's folder may not be there yet.
        val existing = generateSequence(folder.absoluteFile, File::getParentFile).first(File::exists)
        return StatFs(existing.path).availableBytes
    }

    private class Headroom(val at: Long, val value: Float)

    private companion object {
        /** How far ahead the system is asked to look. */
        const val HEADROOM_SECONDS = 10

        /** How long an answer counts. */
        const val HEADROOM_KEPT_MILLIS = 10_000
    }
}

/** What the battery's broadcast says. */
internal data class BatteryReading(val charging: Boolean, val charge: Double, val celsius: Double?)

/** Reads the broadcast's numbers; [extra] gets a name and what to return where there is none. */
internal fun batteryReading(extra: (String, Int) -> Int): BatteryReading {
    val present = extra(BatteryManager.EXTRA_PRESENT, 1) != 0
    val level = extra(BatteryManager.EXTRA_LEVEL, -1)
    val scale = extra(BatteryManager.EXTRA_SCALE, -1)
    val tenths = extra(BatteryManager.EXTRA_TEMPERATURE, Int.MIN_VALUE)
    return BatteryReading(
        charging = extra(BatteryManager.EXTRA_PLUGGED, 0) != 0,
        // Not a number: the policy takes it for what it is, a reading that cannot be true.
        charge = if (!present) 1.0 else if (level < 0 || scale <= 0) Double.NaN else level.toDouble() / scale,
        celsius = if (tenths == Int.MIN_VALUE) null else tenths / 10.0,
    )
}

/** The level for one of `PowerManager.THERMAL_STATUS_…`; from moderate on the system slows itself down. */
internal fun thermalOfStatus(status: Int): Thermal =
    when {
        status <= PowerManager.THERMAL_STATUS_NONE -> Thermal.NOMINAL
        status == PowerManager.THERMAL_STATUS_LIGHT -> Thermal.FAIR
        status == PowerManager.THERMAL_STATUS_MODERATE -> Thermal.SERIOUS
        else -> Thermal.CRITICAL
    }

/** The level for a headroom, of which 1 is where severe throttling begins. NaN, for none, is no reason to wait. */
internal fun thermalOfHeadroom(headroom: Float): Thermal =
    when {
        headroom >= 1.0f -> Thermal.CRITICAL
        headroom >= 0.9f -> Thermal.SERIOUS
        headroom >= 0.75f -> Thermal.FAIR
        else -> Thermal.NOMINAL
    }

/**
 * The bytes that training may have in all: what is free above the mark at which the system begins to end processes, and
 * what this process holds already. Nothing more than it holds when the system says that memory is low.
 */
internal fun memoryForTraining(free: Long, threshold: Long, low: Boolean, own: Long): Long =
    if (low) own else (free - threshold).coerceAtLeast(0) + own

/** The process's own memory, without mapped files: `RssAnon` in the kernel's status file, 0 where it has none. */
internal fun residentBytes(status: String): Long =
    status.lineSequence().firstOrNull { it.startsWith("RssAnon:") }
        ?.let { Regex("[0-9]+").find(it)?.value?.toLongOrNull() }
        ?.let { it * 1024 } ?: 0
