package org.nightgraft

import java.nio.file.Path
import java.util.concurrent.Executors
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

/** Closing from a thread that must not be blocked. */
internal class SuspendCloseableTest {
    @TempDir lateinit var folder: Path

    /** Something that is closed when another coroutine of the same thread says so. */
    private class Slow(private val saved: CompletableDeferred<Unit>) : SuspendCloseable {
        var isClosed = false
            private set

        override suspend fun release() {
            saved.await()
            isClosed = true
        }

        override fun close() = error("this blocks the thread")
    }

    @Test
    fun `the thread goes on while what is closed is saved`() {
        Executors.newSingleThreadExecutor().asCoroutineDispatcher().use { mainThread ->
            runBlocking(mainThread) {
                val saved = CompletableDeferred<Unit>()
                val slow = Slow(saved)
                val closing = launch { slow.useSuspending { 1 } }
                yield() // it waits for `saved` now
                saved.complete(Unit)
                closing.join()
                assertTrue(slow.isClosed)
            }
        }
    }

    @Test
    fun `the block's result and error come through`() = runBlocking<Unit> {
        val saved = CompletableDeferred(Unit)
        assertEquals(1, Slow(saved).useSuspending { 1 })
        val slow = Slow(saved)
        assertThrows<IllegalStateException> { runBlocking { slow.useSuspending { error("in the block") } } }
        assertTrue(slow.isClosed)
    }

    @Test
    fun `a coroutine that is cancelled closes its session, saved, and a second time does nothing`() =
        runBlocking(Dispatchers.Default) {
            SessionFixture.with(folder) {
                val latch = ProgressLatch()
                val training = launch {
                    session.useSuspending {
                        it.runSlice(onProgress = latch)
                        awaitCancellation()
                    }
                }
                latch.await { it.step > 0 }
                training.cancel()
                training.join()
                assertThrows<NightgraftException.Cancelled> { session.stop() }
                session.release()
                store.release()
                store.release()
            }
        }
}
