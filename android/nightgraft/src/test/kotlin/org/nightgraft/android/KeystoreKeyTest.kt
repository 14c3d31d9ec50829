package org.nightgraft.android

import java.io.File
import java.nio.file.Path
import java.security.KeyStoreException
import java.security.ProviderException
import java.security.UnrecoverableKeyException
import javax.crypto.Cipher
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.AdapterStore
import org.nightgraft.NightgraftException
import org.nightgraft.StoreSettings
import org.nightgraft.android.FakeKeystore.Fault
import org.nightgraft.madeUpExamples

/** A store's key on a Keystore that forgets, fails and comes back. */
internal class KeystoreKeyTest {
    @TempDir lateinit var folder: Path

    private val keystore = FakeKeystore()

    private fun file(name: String) = File("$folder/$name")

    private fun key(name: String) = KeystoreKey(file(name), "store", impatientWrapper(keystore))

    @Test
    fun `after a rotation the old key is removed, and the new one opens the store`() = runBlocking {
        val (old, new) = key("old.key") to key("new.key")
        AdapterStore.open("$folder/store", StoreSettings(key = old.loadOrCreate())).use { store ->
            store.add(madeUpExamples(3))
            store.rotateKey(new.loadOrCreate())
        }
        assertEquals(2, keystore.keys.size)
        old.reset()
        assertEquals(1, keystore.keys.size)
        assertNull(key("old.key").load())
        AdapterStore.open("$folder/store", StoreSettings(key = checkNotNull(key("new.key").load()))).use { store ->
            assertEquals(3, store.examples().size)
        }
    }

    @Test
    fun `a key that was renamed is still the key`() {
        val made = key("new.key").loadOrCreate()
        assertTrue(file("new.key").renameTo(file("store.key")))
        assertArrayEquals(made, key("store.key").load())
    }

    @Test
    fun `a passing fault is tried again`() {
        val made = key("store.key").loadOrCreate()
        val passing =
            listOf(
                Fault.Throws(UnrecoverableKeyException("Failed to obtain information about key")),
                Fault.Throws(ProviderException("Keystore operation failed")),
                Fault.Blind,
            )
        for (fault in passing) {
            keystore.faults += fault
            assertArrayEquals(made, key("store.key").load(), "$fault")
        }
        keystore.faults += passing
        assertArrayEquals(made, key("store.key").loadOrCreate())
        assertTrue(keystore.faults.isEmpty())
    }

    @Test
    fun `a fault that lasts is no wrong key`() {
        val made = key("store.key").loadOrCreate()
        val error = UnrecoverableKeyException("Failed to obtain information about key")
        keystore.faults += List(ATTEMPTS) { Fault.Throws(error) }
        val thrown = assertThrows<NightgraftException.KeyUnavailable> { key("store.key").loadOrCreate() }
        assertEquals(error, thrown.cause)
        // One look without the key among them says no more.
        keystore.faults += List(ATTEMPTS - 1) { Fault.Blind } + Fault.Throws(KeyStoreException())
        assertThrows<NightgraftException.KeyUnavailable> { key("store.key").load() }
        assertArrayEquals(made, key("store.key").load())
        // What cannot be removed now can be later.
        keystore.faults += List(ATTEMPTS) { Fault.Throws(error) }
        assertThrows<NightgraftException.KeyUnavailable> { key("store.key").reset() }
        assertArrayEquals(made, key("store.key").load())
    }

    @Test
    fun `a key that is given up, and one that is never there, are wrong keys`() {
        key("store.key").loadOrCreate()
        keystore.faults += Fault.Throws(FakeKeystore.Invalidated())
        assertThrows<NightgraftException.WrongKey> { key("store.key").load() }
        assertTrue(keystore.faults.isEmpty())
        keystore.keys.clear()
        assertThrows<NightgraftException.WrongKey> { key("store.key").load() }
        assertThrows<NightgraftException.WrongKey> { key("store.key").loadOrCreate() }
        key("store.key").reset()
        assertNull(key("store.key").load())
    }

    @Test
    fun `the Keystore has four attempts within a second`() {
        val pauses = mutableListOf<Duration>()
        keystore.faults += List(ATTEMPTS) { Fault.Throws(ProviderException()) }
        assertThrows<NightgraftException.KeyUnavailable> {
            KeystoreKey(file("store.key"), "store", KeyWrapper(keystore, pauses::add)).loadOrCreate()
        }
        assertEquals(ATTEMPTS, pauses.size)
        assertEquals(1.seconds, pauses.fold(Duration.ZERO, Duration::plus))
    }

    @Test
    fun `a device that was restored is not a first start`() {
        assertNull(key("store.key").load())
        assertTrue(keystore.keys.isEmpty())
        val made = key("store.key").loadOrCreate()
        assertArrayEquals(made, key("store.key").load())
    }

    @Test
    fun `a file of an earlier build opens, and its removal leaves the others their key`() {
        val keys = listOf("one.key", "two.key").associateWith { name -> ByteArray(32) { (it + name.length).toByte() } }
        val shared = keystore.generate("store")
        for ((name, key) in keys) {
            val cipher = Cipher.getInstance("AES/GCM/NoPadding").apply { init(Cipher.ENCRYPT_MODE, shared) }
            cipher.updateAAD("NGKEY1".toByteArray())
            val wrapped = cipher.doFinal(key)
            file(name).writeBytes("NGKEY1".toByteArray() + cipher.iv.size.toByte() + cipher.iv + wrapped)
        }
        for ((name, key) in keys) assertArrayEquals(key, key(name).loadOrCreate())
        key("one.key").reset()
        assertNull(key("one.key").load())
        assertArrayEquals(keys["two.key"], key("two.key").load())
    }

    private companion object {
        const val ATTEMPTS = 4
    }
}
