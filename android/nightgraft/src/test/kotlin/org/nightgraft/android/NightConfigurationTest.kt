package org.nightgraft.android

import java.io.File
import java.nio.file.Path
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.AdapterStore
import org.nightgraft.DeviceState
import org.nightgraft.ENDLESS
import org.nightgraft.Interruption
import org.nightgraft.NightEnd
import org.nightgraft.NightgraftException
import org.nightgraft.PauseReason
import org.nightgraft.SliceOutcome
import org.nightgraft.StoreSettings
import org.nightgraft.TestFiles
import org.nightgraft.madeUpExamples
import org.nightgraft.sessionOf
import org.nightgraft.testing.FixedPlatform
import org.nightgraft.testing.copy
import org.nightgraft.testing.ready

/** What a night opens, on the real library, and that nothing of it stays open. */
internal class NightConfigurationTest {
    @TempDir lateinit var folder: Path

    private val keystore = FakeKeystore()
    private val key get() = KeystoreKey(File("$folder/store.key"), "store", impatientWrapper(keystore))
    private val store get() = File("$folder/store")
    private val platform = FixedPlatform()

    private fun night(work: suspend () -> Unit) = runBlocking(Dispatchers.Default) { withTimeout(2.minutes) { work() } }

    private suspend fun open(model: String = TestFiles.tiny) = NightConfiguration.open(File(model), store, key, ENDLESS)

    private suspend fun assertClosed(configuration: NightConfiguration) {
        assertThrows<NightgraftException.Cancelled> { runBlocking { configuration.model.tokenize("a") } }
        AdapterStore.open(store.path, StoreSettings(key = checkNotNull(key.load()))).release()
    }

    private suspend fun lastNight(): NightEnd? {
        val reopened = AdapterStore.open(store.path, StoreSettings(key = key.loadOrCreate()))
        return reopened.nights().single().end.also { reopened.release() }
    }

    @Test
    fun `both are opened, or none`() = night {
        assertThrows<NightgraftException.InvalidModel> { runBlocking { open("$folder/no such model") } }
        val configuration = open()
        assertThrows<NightgraftException.StoreLocked> { runBlocking { open() } }
        keystore.keys.clear()
        assertThrows<NightgraftException.WrongKey> { runBlocking { open() } }
        configuration.release()
        assertThrows<NightgraftException.Cancelled> { runBlocking { configuration.model.tokenize("a") } }
    }

    @Test
    fun `a store that the app has closed meanwhile does not keep the model open`() = night {
        val configuration = open()
        val night = configuration.openNight(JobOptions(), sdk = 36) { platform }
        configuration.store.close()
        night.release(interruption = null)
        assertClosed(configuration)
    }

    @Test
    fun `a night that cannot be opened leaves nothing open`() = night {
        val unsuited = NightConfiguration.open(File(TestFiles.tiny), store, key, sessionOf(steps = 6, rank = -1))
        assertThrows<NightgraftException.Unsupported> {
            runBlocking { unsuited.openNight(JobOptions(), sdk = 36) { platform } }
        }
        assertClosed(unsuited)
        val configuration = open()
        assertThrows<IllegalStateException> {
            runBlocking { configuration.openNight(JobOptions(), sdk = 36) { error("no platform") } }
        }
        assertClosed(configuration)
    }

    @Test
    fun `a night that is stopped is saved and closed, and the key is the store's`() = night {
        val configuration = open()
        configuration.store.add(madeUpExamples(24))
        // A screen saver: the job's own condition counts.
        val night = configuration.openNight(JobOptions(), sdk = 36) { FixedPlatform(DeviceState.ready.copy(idle = false)) }
        val outcome = night.train { if (it.step > 0) night.stop() }
        assertEquals(SliceOutcome.Paused(PauseReason.Stopped), outcome)
        night.release(Interruption.NOT_CHARGING)
        assertClosed(configuration)
        assertEquals(NightEnd.Stopped(Interruption.NOT_CHARGING), lastNight())
        assertArrayEquals(key.loadOrCreate(), key.load())
    }

    @Test
    fun `a run that is stopped before its night begins is none, and changes no other`() = night {
        val first = open().also { it.store.add(madeUpExamples(24)) }.openNight(JobOptions(), sdk = 36) { platform }
        first.train { if (it.step > 0) first.stop() }
        first.release(interruption = null)
        open().openNight(JobOptions(), sdk = 36) { platform }.release(Interruption.IN_USE)
        assertEquals(NightEnd.Stopped(by = null), lastNight())
    }

    @Test
    fun `a run that the owner asks for trains while the device is used, whatever the rules`() = night {
        val configuration = open()
        configuration.store.add(madeUpExamples(24))
        val terms = RunTerms(grant = 1.minutes, whileUsed = true)
        val night = configuration.openNight(terms) { FixedPlatform(DeviceState.ready.copy(idle = false)) }
        val outcome = night.train { if (it.step > 0) night.stop() }
        assertEquals(SliceOutcome.Paused(PauseReason.Stopped), outcome)
        night.release(interruption = null)
        assertClosed(configuration)
    }

    @Test
    fun `a grant that finds no room is given back at once`() = night {
        open().also { it.store.add(madeUpExamples(24)) }.release()
        val app = FakeApp { open().openNight(JobOptions(), sdk = 36) { FixedPlatform(DeviceState.ready.copy(storageFree = 0)) } }
        assertEquals(6.hours, app.useGrant(JobOptions(), Mutex()).next)
        assertTrue(app.outcomes.single() is SliceOutcome.Paused)
        AdapterStore.open(store.path, StoreSettings(key = checkNotNull(key.load()))).release()
    }
}
