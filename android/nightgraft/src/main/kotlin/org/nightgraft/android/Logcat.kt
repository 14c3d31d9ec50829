package org.nightgraft.android

import android.util.Log
import org.nightgraft.LogLevel
import org.nightgraft.LogSink

/** Android's own log, under the tag `Nightgraft`: `Nightgraft.logTo(Logcat)`, and `adb logcat -s Nightgraft` shows it. */
public object Logcat : LogSink {
    override fun log(level: LogLevel, target: String, message: String) {
        Log.println(priority(level), "Nightgraft", "$target: $message")
    }

    internal fun priority(level: LogLevel): Int =
        when (level) {
            LogLevel.ERROR -> Log.ERROR
            LogLevel.WARN -> Log.WARN
            LogLevel.INFO -> Log.INFO
            LogLevel.DEBUG -> Log.DEBUG
        }
}
