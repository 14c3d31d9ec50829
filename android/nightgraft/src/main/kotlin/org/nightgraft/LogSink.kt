package org.nightgraft

import org.nightgraft.ffi.ListenerException
import org.nightgraft.ffi.LogLevel as FfiLogLevel
import org.nightgraft.ffi.LogSink as FfiLogSink

/** Gets what the library has to log; [Nightgraft.logTo] installs one. [org.nightgraft.android.Logcat] is one for Android. */
public fun interface LogSink {
    /**
     * Takes one line. It is called from one thread of the library's, which nothing else waits for; what it throws is passed
     * over.
     *
     * @param level how important the line is
     * @param target the part of the library that it comes from
     * @param message what there is to say: it names files and settings, never a user's text
     */
    public fun log(level: LogLevel, target: String, message: String)
}

/** How important a line is, the most important first. */
public enum class LogLevel {
    /** Something has failed. */
    ERROR,

    /** Something is not as it should be, and goes on. */
    WARN,

    /** What a night does and waits for. */
    INFO,

    /** For those who work on the library. */
    DEBUG,
}

internal fun LogLevel.toFfi() =
    when (this) {
        LogLevel.ERROR -> FfiLogLevel.ERROR
        LogLevel.WARN -> FfiLogLevel.WARN
        LogLevel.INFO -> FfiLogLevel.INFO
        LogLevel.DEBUG -> FfiLogLevel.DEBUG
    }

private fun FfiLogLevel.toPublic() =
    when (this) {
        FfiLogLevel.ERROR -> LogLevel.ERROR
        FfiLogLevel.WARN -> LogLevel.WARN
        FfiLogLevel.INFO -> LogLevel.INFO
        FfiLogLevel.DEBUG -> LogLevel.DEBUG
    }

/** Hands lines to the app. */
internal class LogRelay(private val sink: LogSink) : FfiLogSink {
    override fun log(level: FfiLogLevel, target: String, message: String) {
        try {
            sink.log(level.toPublic(), target, message)
        } catch (error: Throwable) {
            throw ListenerException.Failed(error.javaClass.name)
        }
    }
}
