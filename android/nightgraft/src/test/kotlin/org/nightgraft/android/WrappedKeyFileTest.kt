package org.nightgraft.android

import java.io.File
import java.nio.file.Path
import java.util.concurrent.Executors
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.NightgraftException

/** The key's file, with keys of the JVM in place of the Keystore's. */
internal class WrappedKeyFileTest {
    @TempDir lateinit var folder: Path

    private val file get() = File("$folder/below/store.key")
    private val keyFile by lazy { keyFile(FakeKeystore()) }

    private fun keyFile(keystore: Keystore) = WrappedKeyFile(file, "store", impatientWrapper(keystore))

    @Test
    fun `the key is made once and comes back`() {
        val key = keyFile.loadOrCreate()
        assertEquals(32, key.size)
        assertTrue(key.toSet().size > 8, "not random")
        assertArrayEquals(key, keyFile.loadOrCreate())
        assertEquals(listOf("store.key"), file.parentFile.list()?.toList())
        val inFile = file.readBytes().toList()
        assertTrue(inFile.windowed(32).none { it == key.toList() }, "the key lies open in its file")
    }

    @Test
    fun `every damaged byte and every length is noticed`() {
        keyFile.loadOrCreate()
        val whole = file.readBytes()
        for (index in whole.indices) {
            file.writeBytes(whole.copyOf().also { it[index] = (it[index].toInt() xor 1).toByte() })
            assertThrows<NightgraftException>("byte $index") { keyFile.loadOrCreate() }
        }
        for (length in 0 until whole.size) {
            file.writeBytes(whole.copyOf(length))
            assertThrows<NightgraftException.Corrupted>("$length bytes") { keyFile.loadOrCreate() }
        }
        file.writeBytes(whole + 0)
        assertThrows<NightgraftException.Corrupted> { keyFile.loadOrCreate() }
        file.writeBytes(whole)
        assertEquals(32, keyFile.loadOrCreate().size)
    }

    @Test
    fun `without the wrapping key the file is worthless, and stays`() {
        keyFile.loadOrCreate()
        val before = file.readBytes()
        assertThrows<NightgraftException.WrongKey> { keyFile(FakeKeystore()).loadOrCreate() }
        assertArrayEquals(before, file.readBytes())
    }

    @Test
    fun `an interrupted writing leaves no key behind, and the next one works`() {
        file.parentFile.mkdirs()
        File("${file.path}.new").writeText("half a k")
        val key = keyFile.loadOrCreate()
        assertArrayEquals(key, keyFile.loadOrCreate())
        keyFile.delete()
        assertEquals(emptyList<String>(), file.parentFile.list()?.toList())
        assertTrue(!key.contentEquals(keyFile.loadOrCreate()), "the same key again")
    }

    @Test
    fun `many threads get one key`() {
        val pool = Executors.newFixedThreadPool(8)
        val keys = List(32) { pool.submit<List<Byte>> { keyFile.loadOrCreate().toList() } }.map { it.get() }
        pool.shutdown()
        assertEquals(1, keys.toSet().size)
    }
}
