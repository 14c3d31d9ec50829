package org.nightgraft

import java.nio.file.Path
import java.util.concurrent.atomic.AtomicLong
import kotlin.concurrent.thread
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

/** Slices that end before their time, from everywhere, and what may happen meanwhile. */
internal class CancellationTest {
    @TempDir lateinit var folder: Path

    private fun withSession(work: suspend SessionFixture.() -> Unit) = runBlocking(Dispatchers.Default) { SessionFixture.with(folder) { work() } }

    @Test
    fun `another thread stops a slice`() = withSession {
        val outcome = session.runSlice { if (it.step >= 3) thread { session.stop() } }
        assertEquals(SliceOutcome.Paused(PauseReason.Stopped), outcome)
        assertTrue(session.progress.step >= 3)
        assertEquals(Phase.PAUSED, session.progress.phase)
    }

    @Test
    fun `a slice ends with its time, and the next goes on`() = withSession {
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(300.milliseconds))
        val first = session.progress.step
        assertTrue(first > 0)
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(300.milliseconds))
        assertTrue(session.progress.step > first)
    }

    @Test
    fun `a cancelled coroutine stops its slice, saved`() = withSession {
        val steps = AtomicLong()
        coroutineScope {
            val training = launch { session.runSlice { steps.set(it.step) } }
            eventually("some steps are done") { steps.get() > 10 }
            training.cancel()
            training.join()
            assertTrue(training.isCancelled)
        }
        // The stopped slice ends and is saved: the next one does not wait for long, and goes on from there.
        val stopped = steps.get()
        val next = AtomicLong()
        session.runSlice(1000.milliseconds) { if (it.phase == Phase.TRAINING) next.compareAndSet(0, it.step) }
        assertTrue(next.get() > stopped, "${next.get()} after $stopped")
    }

    @Test
    fun `a collector that has seen enough stops the slice`() = withSession {
        val training = session.slice().first { it.phase == Phase.TRAINING && it.step > 0 }
        assertTrue(training.memoryBytes > 0)
        eventually("the slice is saved") { session.progress.phase == Phase.PAUSED }
        val last = session.slice(300.milliseconds).last()
        assertEquals(Phase.PAUSED, last.phase)
        assertTrue(last.step >= training.step)
    }

    @Test
    fun `closing a handle that runs ends its slice with Cancelled, soon`() = withSession {
        val started = CompletableDeferred<Unit>()
        coroutineScope {
            val training = async { runCatching { session.runSlice { if (it.step > 0) started.complete(Unit) } } }
            started.await()
            val closing = TimeSource.Monotonic.markNow()
            session.close()
            assertTrue(closing.elapsedNow() < 5.seconds, "${closing.elapsedNow()}")
            training.await().onFailure { assertTrue(it is NightgraftException.Cancelled, "$it") }
                .onSuccess { assertEquals(SliceOutcome.Paused(PauseReason.Stopped), it) }
        }
        assertThrows<NightgraftException.Cancelled> { runBlocking { session.runSlice() } }
        assertThrows<NightgraftException.Cancelled> { session.progress }
        assertThrows<NightgraftException.Cancelled> { session.stop() }
    }

    @Test
    fun `closing the store under a slice ends it, and frees the lock`() = withSession {
        val started = CompletableDeferred<Unit>()
        coroutineScope {
            val training = async { runCatching { session.runSlice { if (it.step > 0) started.complete(Unit) } } }
            started.await()
            store.close()
            assertTrue(training.await().exceptionOrNull() is NightgraftException.Cancelled, "${training.await()}")
        }
        AdapterStore.open("$folder/store").use { assertEquals(24, it.examples().size) }
    }

    @Test
    fun `two coroutines with one session run one after the other`() = withSession {
        val both = coroutineScope { List(2) { async { session.runSlice(400.milliseconds) } }.map { it.await() } }
        assertEquals(List(2) { SliceOutcome.Paused(PauseReason.Deadline) }, both)
    }

    @Test
    fun `a cancelled coroutine that waits its turn does not stop the other`() = withSession {
        coroutineScope {
            val started = CompletableDeferred<Unit>()
            val first = async { session.runSlice(1.seconds) { if (it.step > 0) started.complete(Unit) } }
            started.await()
            val second = launch { session.runSlice() }
            kotlinx.coroutines.delay(100.milliseconds)
            second.cancel()
            second.join()
            assertEquals(SliceOutcome.Paused(PauseReason.Deadline), first.await())
        }
    }

    @Test
    fun `the store can be used while a slice runs`() = withSession {
        coroutineScope {
            val steps = AtomicLong()
            val training = async { session.runSlice { steps.set(it.step) } }
            eventually("a step is done") { steps.get() > 0 }
            val ids = store.add(madeUpExamples(5, from = 1000))
            assertEquals(29, store.examples().size)
            assertEquals(ids.takeLast(2), store.delete(ids.takeLast(2)).deleted)
            val after = steps.get()
            eventually("the slice goes on") { steps.get() > after }
            session.stop()
            assertEquals(SliceOutcome.Paused(PauseReason.Stopped), training.await())
        }
        assertEquals(27, store.examples().size)
    }

    @Test
    fun `a timeout is a cancellation like any other`() = withSession {
        assertThrows<CancellationException> {
            runBlocking { kotlinx.coroutines.withTimeout(300.milliseconds) { session.slice().onEach {}.collect() } }
        }
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(100.milliseconds))
    }
}
