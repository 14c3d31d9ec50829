package org.nightgraft

import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

internal class GeneratorTest {
    @TempDir lateinit var folder: Path

    private val question = listOf(Message.user("Who feeds the cat?"))
    private val options = ChatOptions(maxTokens = 24)

    private fun generator(model: String = TestFiles.tiny, work: suspend Generator.(BaseModel) -> Unit) =
        runBlocking(Dispatchers.Default) {
            BaseModel.open(model).use { base -> Generator.open(base, threads = 1).use { it.work(base) } }
        }

    @Test
    fun `pieces make the answer, the same each time`() = generator(TestFiles.smollm2) {
        val pieces = mutableListOf<String>()
        val answer = answer(question, options) { pieces += it }
        assertEquals(answer.text, pieces.joinToString(""))
        assertTrue(answer.tokens in 1..24 && answer.promptTokens > 5 && pieces.size > 1, "$answer")
        assertEquals(answer.text, chat(question, options).toList().joinToString(""))
    }

    @Test
    fun `a text goes on without a template`() = generator(TestFiles.smollm2) {
        assertTrue(completion("The capital of France is", ChatOptions(maxTokens = 2)).text.startsWith(" Paris"))
        assertTrue(complete("The capital of France is", options).toList().joinToString("").startsWith(" Paris"))
    }

    @Test
    fun `an answer can be stopped and left, and the next one is whole`() = generator(TestFiles.smollm2) {
        val long = ChatOptions(maxTokens = 400)
        val prompt = "Once upon a time there was a lighthouse keeper who"
        val stopped = completion(prompt, long) { stop() }
        assertTrue(stopped.stopped && stopped.tokens < 400, "$stopped")
        val first = complete(prompt, long).first()
        assertTrue(stopped.text.startsWith(first) && first.isNotEmpty())
        assertEquals(2, completion(prompt, ChatOptions(maxTokens = 2)).tokens)
    }

    @Test
    fun `a listener that throws ends the answer, and its exception is the cause`() = generator(TestFiles.smollm2) {
        val error = assertThrows<NightgraftException.Cancelled> {
            runBlocking { answer(question, options) { throw IllegalStateException("made up") } }
        }
        assertTrue(error.chain().any { it is IllegalStateException && it.message == "made up" }, "${error.chain()}")
    }

    @Test
    fun `a closed generator refuses, also in the middle of an answer`() = generator(TestFiles.smollm2) {
        val written = runCatching { completion("Once upon a time", ChatOptions(maxTokens = 400)) { close() } }
        written.onSuccess { assertTrue(it.stopped, "$it") }
            .onFailure { assertTrue(it is NightgraftException.Cancelled, "$it") }
        assertThrows<NightgraftException.Cancelled> { runBlocking { answer(question, options) } }
    }

    @Test
    fun `grafts are exchanged while the model stays`() = runBlocking<Unit>(Dispatchers.Default) {
        SessionFixture.with(folder, sessionOf(steps = 20, learningRate = 0.01)) {
            val report = (session.runSlice() as SliceOutcome.Finished).report
            val graft = checkNotNull(report.graft) { "$report" }
            Generator.open(model, threads = 1).use { generator ->
                suspend fun text() = generator.completion("The boat number 7 is", options).text
                val base = text()
                generator.useGraft(store, graft)
                val grafted = text()
                assertTrue(grafted != base, "the graft says the same: $base")
                generator.useBase()
                assertEquals(base, text())
                store.promoteAnyway(graft)
                assertEquals(graft, generator.useCurrent(store))
                assertEquals(grafted, text())
                store.export(graft, GraftFormat.GGUF, model, "$folder/graft.gguf")
                generator.useBase()
                generator.useAdapter("$folder/graft.gguf")
                assertEquals(grafted, text())
                store.rollback()
                assertEquals(null, generator.useCurrent(store))
                assertEquals(base, text())
                assertThrows<NightgraftException> { runBlocking { generator.useGraft(store, 987_654) } }
                assertThrows<NightgraftException> { runBlocking { generator.useAdapter("$folder/none") } }
                assertEquals(base, text())
            }
        }
    }
}
