package org.nightgraft

import com.google.gson.JsonParser
import java.io.File
import java.nio.file.Path
import java.util.concurrent.CopyOnWriteArrayList
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

/** The scenario that all languages play, in Kotlin, on a real model. The exported bytes must be those of the others. */
internal class ScenarioTest {
    @TempDir lateinit var folder: Path

    private val scenario = parse(File(TestFiles.scenario, "scenario.json").readText())
    private val notes =
        File(TestFiles.scenario, "notes.jsonl").readLines().filter(String::isNotBlank).map { line ->
            val turns = parse(line)["messages"].asJsonArray.map { it.asJsonObject }
            Example.Chat(turns.map { Message(Role.valueOf(it["role"].asString.uppercase()), it["content"].asString) })
        }
    private val key = "a made-up key of thirty-two byte".toByteArray()

    private val settings =
        scenario["settings"].asJsonObject.let {
            SessionSettings(
                rank = it["rank"].asInt,
                alpha = it["alpha"].asDouble.toFloat(),
                layers = AdapterLayers.Last(it["layers"].asString.removePrefix("last:").toInt()),
                learningRate = it["learning_rate"].asDouble,
                epochs = it["epochs"].asInt,
                context = it["context"].asInt,
                batchTokens = it["batch_tokens"].asInt,
                heldOut = it["held_out"].asDouble.toFloat(),
                checkpointEvery = it["checkpoint_every"].asInt,
                seed = it["seed"].asLong,
                threads = it["threads"].asInt,
            )
        }

    private fun parse(json: String) = JsonParser.parseString(json).asJsonObject

    private suspend fun store(withKey: ByteArray = key) =
        AdapterStore.open("$folder/store", StoreSettings(key = withKey, seed = scenario["store_seed"].asLong))

    @Test
    fun `a graft from the first note to the export`() = runBlocking<Unit>(Dispatchers.Default) {
        BaseModel.open(TestFiles.smollm2).use { model ->
            stoppedInTheMiddle(model)
            assertThrows<NightgraftException.WrongKey> { runBlocking { store(ByteArray(32) { 1 }) } }
            store().use { store ->
                val graft = finished(model, store)
                answers(model, store, graft)
                export(model, store, graft)
                deletes(store, graft)
            }
        }
    }

    private suspend fun stoppedInTheMiddle(model: BaseModel) {
        store().use { store ->
            assertEquals((1L..40L).toList(), store.add(notes))
            PersonalizationSession.open(model, store, settings).use { session ->
                val seen = CopyOnWriteArrayList<Progress>()
                val outcome = session.runSlice { progress ->
                    seen += progress
                    if (progress.step >= scenario["stop_after_step"].asInt) session.stop()
                }
                assertEquals(SliceOutcome.Paused(PauseReason.Stopped), outcome)
                val last = seen.last()
                assertEquals(Phase.PAUSED, last.phase)
                assertTrue(last.step in scenario["stop_after_step"].asLong until last.totalSteps, "$last")
            }
        }
    }

    /** Goes on where it stopped, in a flow; the gate promotes the graft. */
    private suspend fun finished(model: BaseModel, store: AdapterStore): Long =
        PersonalizationSession.open(model, store, settings).use { session ->
            val seen = session.slice().toList()
            assertEquals(Phase.FINISHED, seen.last().phase)
            // What was done before the stop is not done again.
            val first = seen.first { it.phase == Phase.TRAINING && it.step > 0 }
            assertTrue(first.step >= scenario["stop_after_step"].asLong, "$first")
            val report = checkNotNull(session.report)
            assertTrue(report.promoted, report.verdict.text)
            assertEquals(40, report.trained + report.heldOut)
            assertEquals(report.graft, store.current())
            checkNotNull(report.graft)
        }

    private suspend fun answers(model: BaseModel, store: AdapterStore, graft: Long) {
        val question = listOf(Message.user(scenario["question"].asString))
        val options = ChatOptions(maxTokens = scenario["max_tokens"].asInt)
        Generator.open(model, threads = 2).use { generator ->
            val before = generator.answer(question, options).text
            assertEquals(graft, generator.useCurrent(store))
            val after = generator.chat(question, options).toList().joinToString("")
            assertTrue(after.startsWith("Keeper's note."), after)
            assertNotEquals(before, after)
            generator.useBase()
            assertEquals(before, generator.answer(question, options).text, "without the graft it answers as before")
        }
    }

    private suspend fun export(model: BaseModel, store: AdapterStore, graft: Long) {
        val out = File(System.getenv("NIGHTGRAFT_SCENARIO_OUT") ?: "$folder/out").also { it.mkdirs() }
        val adapter = File(out, "kotlin")
        store.export(graft, GraftFormat.PEFT, model, adapter.path)
        assertTrue(File(adapter, "adapter_model.safetensors").length() > 100_000)
    }

    private suspend fun deletes(store: AdapterStore, graft: Long) {
        val id = scenario["delete"].asLong
        val report = store.delete(listOf(id))
        assertEquals(DeleteReport(listOf(id), listOf(graft), sessionDropped = false), report)
        val now = store.grafts().single()
        assertEquals(GraftStatus.CURRENT to listOf(id), now.status to now.sawDeleted)
        assertEquals(39, store.examples().size)
    }
}
