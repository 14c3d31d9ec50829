package org.nightgraft

import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

internal class StoreChangesTest {
    @TempDir lateinit var folder: Path

    @Test
    fun `a screen hears of each change until the store is closed`() = runBlocking(Dispatchers.Default) {
        val store = AdapterStore.open("$folder/store", StoreSettings.unencrypted())
        val shown = Channel<Int>(Channel.UNLIMITED)
        val screen = launch { store.changes.map { store.examples().size }.collect(shown::send) }
        assertEquals(0, shown.receive())
        for (count in 1..3) {
            store.add(madeUpExamples(count))
            while (shown.receive() < count) Unit
        }
        store.release()
        screen.join()
    }

    @Test
    fun `a screen hears when a night has made a graft, and may leave`() = runBlocking(Dispatchers.Default) {
        SessionFixture.with(folder, SHORT) {
            val grafts = launch { store.changes.map { store.grafts() }.first { it.isNotEmpty() } }
            session.runSlice()
            grafts.join()
            val leaving = launch { store.changes.collect {} }
            store.changes.first()
            leaving.cancel()
            leaving.join()
        }
    }
}
