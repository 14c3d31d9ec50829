package org.nightgraft

import java.nio.file.Path
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicLong
import kotlin.concurrent.thread
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineStart
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
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(Duration.ZERO))
        assertEquals(0, session.progress.step)
        session.runSlice { if (it.step >= 3) session.stop() }
        val first = session.progress.step
        assertTrue(first >= 3)
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(1.milliseconds))
        assertTrue(session.progress.step >= first)
        session.runSlice { if (it.step > first) session.stop() }
        assertTrue(session.progress.step > first)
    }

    @Test
    fun `a cancelled coroutine stops its slice, saved`() = withSession {
        val steps = AtomicLong()
        coroutineScope {
            val latch = ProgressLatch()
            val training = launch {
                session.runSlice {
                    steps.set(it.step)
                    latch(it)
                }
            }
            latch.await { it.step > 10 }
            training.cancel()
            training.join()
            assertTrue(training.isCancelled)
        }
        // The stopped slice ends and is saved: the next one has its turn, and goes on from there.
        val stopped = steps.get()
        val next = AtomicLong()
        session.runSlice {
            if (it.phase == Phase.TRAINING) {
                next.compareAndSet(0, it.step)
                session.stop()
            }
        }
        assertTrue(next.get() > stopped, "${next.get()} after $stopped")
    }

    @Test
    fun `a collector that has seen enough stops the slice`() = withSession {
        val training = session.slice().first { it.phase == Phase.TRAINING && it.step > 0 }
        assertTrue(training.memoryBytes > 0)
        // The next one has its turn when that one is saved.
        val last = session.slice(Duration.ZERO).last()
        assertEquals(Phase.PAUSED, last.phase)
        assertTrue(last.step >= training.step)
    }

    @Test
    fun `closing a handle that runs ends its slice with Cancelled`() = withSession {
        val started = CompletableDeferred<Unit>()
        coroutineScope {
            val training = async { runCatching { session.runSlice { if (it.step > 0) started.complete(Unit) } } }
            started.await()
            session.close()
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
        AdapterStore.open("$folder/store", StoreSettings.unencrypted()).use { assertEquals(24, it.examples().size) }
    }

    @Test
    fun `two coroutines with one session run one after the other`() = withSession {
        val heard = CopyOnWriteArrayList<Int>()
        val both = coroutineScope {
            List(2) { number -> async { session.runSlice(1.milliseconds) { heard += number } } }.map { it.await() }
        }
        assertEquals(List(2) { SliceOutcome.Paused(PauseReason.Deadline) }, both)
        assertEquals(setOf(0, 1), heard.toSet())
        assertEquals(1, heard.zipWithNext().count { (one, next) -> one != next }, "$heard")
    }

    @Test
    fun `a cancelled coroutine that waits its turn does not stop the other`() = withSession {
        coroutineScope {
            val latch = ProgressLatch()
            val first = async { session.runSlice(onProgress = latch) }
            latch.await { it.step > 0 }
            // It has called the library when it is first suspended.
            val second = launch(start = CoroutineStart.UNDISPATCHED) { session.runSlice() }
            second.cancel()
            second.join()
            val after = session.progress.step
            latch.await { it.step > after + 20 }
            session.stop()
            assertEquals(SliceOutcome.Paused(PauseReason.Stopped), first.await())
        }
    }

    @Test
    fun `the store can be used while a slice runs`() = withSession {
        coroutineScope {
            val latch = ProgressLatch()
            val training = async { session.runSlice(onProgress = latch) }
            latch.await { it.step > 0 }
            val ids = store.add(madeUpExamples(5, from = 1000))
            assertEquals(29, store.examples().size)
            assertEquals(ids.takeLast(2), store.delete(ids.takeLast(2)).deleted)
            val after = session.progress.step
            latch.await { it.step > after }
            session.stop()
            assertEquals(SliceOutcome.Paused(PauseReason.Stopped), training.await())
        }
        assertEquals(27, store.examples().size)
    }

    @Test
    fun `a timeout is a cancellation like any other`() = withSession {
        assertThrows<CancellationException> {
            runBlocking { kotlinx.coroutines.withTimeout(10.milliseconds) { session.slice().onEach {}.collect() } }
        }
        assertEquals(SliceOutcome.Paused(PauseReason.Deadline), session.runSlice(Duration.ZERO))
    }
}
