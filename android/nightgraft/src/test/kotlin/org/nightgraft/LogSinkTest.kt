package org.nightgraft

import java.nio.file.Path
import java.util.concurrent.LinkedBlockingQueue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.android.Logcat
import org.nightgraft.testing.FixedPlatform
import org.nightgraft.testing.copy
import org.nightgraft.testing.ready

internal class LogSinkTest {
    @TempDir lateinit var folder: Path

    private val lines = LinkedBlockingQueue<Pair<LogLevel, String>>()

    @AfterEach
    fun stopListening() = Nightgraft.logTo(null)

    /** Takes lines until one says so; gives its level. */
    private fun levelOf(message: String): LogLevel = generateSequence { lines.take() }.first { message in it.second }.first

    private fun runUnpluggedNight() = runBlocking(Dispatchers.Default) {
        SessionFixture.with(folder) {
            val unplugged = FixedPlatform(DeviceState.ready.copy(charging = false))
            session.runNight(unplugged) { if (it.phase == Phase.WAITING) session.stop() }
        }
    }

    @Test
    fun `a sink gets what a night waits for, and what it throws is passed over`() {
        val sink = LogSink { level, target, message ->
            if (target.startsWith("nightgraft")) lines += level to message
            error("made up")
        }
        Nightgraft.logTo(sink)
        runUnpluggedNight()
        assertEquals(LogLevel.INFO, levelOf("the night waits: waiting for the charger"))
        assertEquals(LogLevel.INFO, levelOf("the night ended"))
    }

    @Test
    fun `a sink gets no line that is less important than it asked for`() {
        val sink = LogSink { level, _, message -> lines += level to message }
        Nightgraft.logTo(sink, LogLevel.WARN)
        runUnpluggedNight()
        Nightgraft.logTo(sink)
        runUnpluggedNight()
        levelOf("the night waits")
        levelOf("the night ended")
        assertEquals(emptyList<String>(), lines.map { it.second }.filter { "the night" in it })
    }

    @Test
    fun `each level has its own in Android's log`() {
        assertEquals(4, LogLevel.entries.map(Logcat::priority).toSet().size)
    }
}
