package org.nightgraft

import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

internal class PlannerTest {
    @TempDir lateinit var folder: Path

    @Test
    fun `memory is planned before the first step, and refused before it too`() = runBlocking<Unit> {
        BaseModel.open(TestFiles.smollm2).use { model ->
            Planner(model).use { planner ->
                val free = planner.memory()
                assertTrue(free.fits && !free.slower && free.batchTokens == 512, "$free")
                assertTrue(free.smallest in 1..free.needed, "$free")
                val exact = planner.memory(SessionSettings(memoryLimit = free.smallest))
                assertTrue(exact.fits, "$exact")
                val none = planner.memory(SessionSettings(memoryLimit = free.smallest / 4))
                assertEquals(false to 0, none.fits to none.batchTokens)
                assertThrows<NightgraftException.Unsupported> {
                    runBlocking { planner.memory(SessionSettings(rank = -1)) }
                }
            }
        }
    }

    @Test
    fun `too little memory is an error with both numbers`() = runBlocking<Unit>(Dispatchers.Default) {
        val error = assertThrows<NightgraftException.OutOfMemoryBudget> {
            runBlocking { SessionFixture.with(folder, sessionOf(steps = 6, memoryLimit = 1000)) { session.runSlice() } }
        }
        assertTrue(error.needed > error.available && error.available <= 1000, error.message)
    }

    @Test
    fun `time is measured without a trace in the store`() = runBlocking<Unit>(Dispatchers.Default) {
        BaseModel.open(TestFiles.tiny).use { model ->
            AdapterStore.open("$folder/store", StoreSettings.unencrypted()).use { store ->
                store.add(madeUpExamples(24))
                val plan = Planner(model).use { it.time(store, SHORT) }
                assertEquals(6, plan.steps)
                assertTrue(plan.tokens > 0 && plan.tokensPerSecond > 0 && plan.time.isPositive(), "$plan")
                assertEquals(emptyList<Graft>(), store.grafts())
                PersonalizationSession.open(model, store, SHORT).use { assertEquals(0, it.progress.step) }
            }
        }
    }
}
