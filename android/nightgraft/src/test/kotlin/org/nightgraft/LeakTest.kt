package org.nightgraft

import java.io.File
import java.nio.file.Path
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assertions.fail
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** Runs alone, in a JVM of its own that does not grow by itself (see `pom.xml`). */
@Tag("leak")
internal class LeakTest {
    @TempDir lateinit var folder: Path

    private data class ResourcesInUse(val memory: Long, val threads: Int, val files: Int)

    @Test
    fun `a thousand times open, train, close, and nothing is held longer`() = runBlocking<Unit> {
        AdapterStore.open("$folder/store", StoreSettings.unencrypted()).use { it.add(madeUpExamples(24)) }
        var steps = 0L
        repeat(WARM_UP) { steps = cycle(steps) }
        val readings = mutableListOf(resourcesInUse())
        // Code that runs for the first time takes memory once; what leaks is there after every thousand.
        repeat(THOUSANDS) {
            val before = readings.last()
            repeat(CYCLES) { steps = cycle(steps) }
            val after = resourcesInUse()
            readings += after
            assertTrue(after.threads <= before.threads, "$readings")
            assertEquals(before.files, after.files)
            if (after.memory - before.memory < before.memory / 100) {
                println("before and after each $CYCLES cycles, $steps steps: $readings")
                return@runBlocking
            }
        }
        fail<Unit>("every $CYCLES cycles take more: $readings")
    }

    /** One round, with every kind of handle and callback; returns the steps that are done after it. */
    private suspend fun cycle(stepsBefore: Long): Long {
        val heard = AtomicInteger()
        val model = BaseModel.open(TestFiles.tiny)
        val store = AdapterStore.open("$folder/store", StoreSettings.unencrypted())
        val session = PersonalizationSession.open(model, store, ENDLESS)
        val outcome = session.runSlice {
            heard.incrementAndGet()
            if (it.step > stepsBefore) session.stop()
        }
        assertEquals(SliceOutcome.Paused(PauseReason.Stopped), outcome)
        val steps = session.progress.step
        assertTrue(steps > stepsBefore && heard.get() > 0, "$steps steps after $stepsBefore, $heard times heard")
        session.close()
        store.close()
        model.close()
        return steps
    }

    private fun resourcesInUse(): ResourcesInUse {
        // The collector also frees what only waits for it.
        repeat(3) {
            System.gc()
            Thread.sleep(100)
        }
        val status = File("/proc/self/status").readLines()
        fun number(name: String) = status.first { it.startsWith("$name:") }.filter(Char::isDigit).toLong()
        return ResourcesInUse(number("VmRSS") * 1024, number("Threads").toInt(), File("/proc/self/fd").list().orEmpty().size)
    }

    private companion object {
        const val WARM_UP = 200
        const val CYCLES = 1000
        const val THOUSANDS = 3
    }
}
