package org.nightgraft.testing

import java.nio.file.Path
import kotlin.time.Duration
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.AdapterStore
import org.nightgraft.BaseModel
import org.nightgraft.DeviceState
import org.nightgraft.Example
import org.nightgraft.NightRules
import org.nightgraft.PersonalizationSession
import org.nightgraft.SessionSettings
import org.nightgraft.SliceOutcome
import org.nightgraft.StoreSettings
import org.nightgraft.Thermal

/** The model and the library that are in the archive: nothing else says where they are. */
internal class TinyModelTest {
    @TempDir lateinit var folder: Path

    @Test
    fun `the model can be trained, with the library that comes with it`() = runBlocking<Unit> {
        assertNull(System.getProperty("jna.library.path"), "another library would be found")
        BaseModel.open(TinyModel.file.path).use { model ->
            assertNull(model.info.notTrainable)
            assertTrue(model.info.hasChatTemplate)
            AdapterStore.open("$folder/store", StoreSettings.unencrypted()).use { store ->
                store.add(List(24) { Example.answer("What is in box $it?", "In box $it there are $it ropes.") })
                val settings = SessionSettings(context = 64, steps = 3, threads = 1)
                PersonalizationSession.open(model, store, settings).use { session ->
                    val outcome = session.runNight(FixedPlatform(), NightRules(idleGrace = Duration.ZERO))
                    assertEquals(3, (outcome as SliceOutcome.Finished).report.steps)
                }
            }
        }
    }

    @Test
    fun `a device is changed in what is named, and has the clock's time`() {
        val platform = FixedPlatform()
        platform.device = DeviceState.ready.copy(thermal = Thermal.SERIOUS)
        platform.clock.advance(Duration.parse("90m"))
        val state = platform.state()
        assertEquals(Thermal.SERIOUS to platform.clock.now, state.thermal to state.time)
        assertEquals(DeviceState.ready.storageFree to true, state.storageFree to state.charging)
    }
}
