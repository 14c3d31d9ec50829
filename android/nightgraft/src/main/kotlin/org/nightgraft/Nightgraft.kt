package org.nightgraft

import org.nightgraft.ffi.leaveSignalsAlone as nativeLeaveSignalsAlone
import org.nightgraft.ffi.setLogSink as nativeSetLogSink
import org.nightgraft.ffi.version as nativeVersion

/** The native library as a whole. */
public object Nightgraft {
    /** The version of the native library, such as `0.1.0`. */
    public val version: String get() = native { nativeVersion() }

    /**
     * Installs no handler of signals, for apps that allow none but their own. To be called before a model is opened;
     * afterwards it changes nothing.
     *
     * The handler turns the `SIGBUS` of a mapped model that is cut short into [NightgraftException.ModelChanged], and passes
     * every other signal on to the handler that was there before: ART's, or a crash reporter's. Without it the process ends
     * if a model is cut short in the very moment in which it is read.
     */
    public fun leaveSignalsAlone(): Unit = native { nativeLeaveSignalsAlone() }

    /**
     * From now on hands what the library has to log to [sink], in place of the one before.
     *
     * @param sink who gets the lines; null for nobody
     * @param atLeast the least important level that it gets
     */
    public fun logTo(sink: LogSink?, atLeast: LogLevel = LogLevel.INFO): Unit =
        native { nativeSetLogSink(sink?.let(::LogRelay), atLeast.toFfi()) }
}
