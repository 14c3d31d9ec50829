package org.nightgraft.testing

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test

internal class MemoryKeyTest {
    @Test
    fun `it is made once, stays when what it gave is wiped, and goes when it is reset`() {
        val key = MemoryKey()
        assertNull(key.load())
        val made = key.loadOrCreate()
        val kept = made.copyOf()
        made.fill(0)
        assertArrayEquals(kept, key.load())
        assertArrayEquals(kept, key.loadOrCreate())
        key.reset()
        assertNull(key.load())
        assertFalse(kept.contentEquals(key.loadOrCreate()))
    }
}
