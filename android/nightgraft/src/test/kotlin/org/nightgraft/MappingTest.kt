package org.nightgraft

import java.time.LocalTime
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.nightgraft.ffi.ChatOptions as FfiChatOptions
import org.nightgraft.ffi.GateSettings as FfiGateSettings
import org.nightgraft.ffi.InternalException
import org.nightgraft.ffi.NightRules as FfiNightRules
import org.nightgraft.ffi.NightgraftException as FfiException
import org.nightgraft.ffi.SessionSettings as FfiSessionSettings
import org.nightgraft.ffi.StoreSettings as FfiStoreSettings
import org.nightgraft.ffi.rulesWhileUsed

/** The public types against the generated ones. */
internal class MappingTest {
    @Test
    fun `each of the eleven errors keeps its name and its words`() {
        val errors =
            listOf(
                FfiException.InvalidModel("why"),
                FfiException.InvalidData("why"),
                FfiException.OutOfMemoryBudget(10u, 5u),
                FfiException.ModelChanged("why"),
                FfiException.StorageFull("why"),
                FfiException.StoreLocked("why"),
                FfiException.Corrupted("why"),
                FfiException.WrongKey("why"),
                FfiException.Cancelled("why"),
                FfiException.Unsupported("why"),
                FfiException.Internal("why"),
            )
        assertEquals(FfiException::class.java.declaredClasses.count { FfiException::class.java.isAssignableFrom(it) }, errors.size)
        for (error in errors) {
            val translated = error.translated()
            assertEquals(error.javaClass.simpleName, translated.javaClass.simpleName)
            assertTrue(translated is NightgraftException && "why" in translated.message.orEmpty() || error is FfiException.OutOfMemoryBudget)
            assertSame(error, translated.cause)
        }
        val memory = errors[2].translated() as NightgraftException.OutOfMemoryBudget
        assertEquals(10L to 5L, memory.needed to memory.available)
        assertEquals("10 bytes of memory are needed, 5 may be used", memory.message)
    }

    @Test
    fun `a panic, a freed handle and a cancelled coroutine are told apart`() {
        assertTrue(InternalException("it panicked").translated() is NightgraftException.Internal)
        assertTrue(IllegalStateException("has already been destroyed").translated() is NightgraftException.Cancelled)
        val cancelled = kotlinx.coroutines.CancellationException("left")
        assertSame(cancelled, cancelled.translated())
    }

    @Test
    fun `the defaults are the native library's`() {
        assertEquals(FfiSessionSettings(gate = FfiGateSettings()), SessionSettings().toFfi())
        assertEquals(FfiNightRules(), NightRules().toFfi())
        assertEquals(rulesWhileUsed(), NightRules.whileUsed.toFfi())
        assertEquals(FfiChatOptions(), ChatOptions().toFfi())
        assertEquals(FfiStoreSettings(key = null), StoreSettings.unencrypted().toFfi())
        val key = ByteArray(32) { 3 }
        assertEquals(FfiStoreSettings(key = key), StoreSettings(key).toFfi())
    }

    @Test
    fun `targets, layers, devices and windows are written as the native library reads them`() {
        assertEquals("attn_q,attn_k,attn_v,attn_output", AdapterTarget.ATTENTION.toFfi())
        assertEquals("ffn_gate,ffn_up,ffn_down", AdapterTarget.FEED_FORWARD.toFfi())
        assertEquals("last:8", AdapterLayers.Last(8).toFfi())
        assertEquals("16..30", AdapterLayers.Range(16..29).toFfi())
        val devices = listOf(ComputeDevice.Processor, ComputeDevice.Automatic, ComputeDevice.Gpu(), ComputeDevice.Gpu(2))
        assertEquals(listOf("cpu", "auto", "gpu", "gpu:2"), devices.map { it.toFfi() })
        assertEquals("22:00-07:05", NightWindow(LocalTime.of(22, 0), LocalTime.of(7, 5)).toFfi())
    }

    @Test
    fun `negative numbers never reach the library`() {
        val bad = listOf(SessionSettings(rank = -1), SessionSettings(memoryLimit = -1), SessionSettings(steps = -5))
        for (settings in bad) assertThrows<NightgraftException.Unsupported> { settings.toFfi() }
        assertThrows<NightgraftException.Unsupported> { ChatOptions(maxTokens = -1).toFfi() }
    }
}
