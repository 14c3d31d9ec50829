package org.nightgraft.sample

import java.io.File
import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.Phase

/** The sample and the README, through the public surface alone. */
class SampleTest {
    @TempDir lateinit var folder: Path

    private val tiny get() = File(checkNotNull(System.getenv("NIGHTGRAFT_TINY")) { "NIGHTGRAFT_TINY is not set" })
    private val notes = List(24) { "What is in box $it?" to "In box $it there are $it ropes." }

    @Test
    fun `the README shows what is compiled, in under forty lines`() {
        val source = File("src/test/kotlin/org/nightgraft/sample/QuickStart.kt").readText()
        val snippet = "suspend fun " + source.substringAfter("suspend fun ")
        assertTrue(snippet in File("../README.md").readText(), "the README shows something else")
        assertTrue(source.lines().size < 40, "${source.lines().size} lines")
    }

    @Test
    fun `the README's lines lead to an answer`() = runBlocking<Unit>(Dispatchers.Default) {
        val store = File("$folder/store")
        val key = ByteArray(32) { 5 }
        val answer = firstPersonalizedAnswer(tiny, store, key, notes, "What is in box 3?")
        assertTrue(answer.isNotEmpty())
        // A second time there is nothing new, and the answer is the same.
        assertEquals(answer, firstPersonalizedAnswer(tiny, store, key, notes, "What is in box 3?"))
        val journal = File(store, "journal").listFiles().orEmpty()
        assertTrue(journal.isNotEmpty())
        assertTrue(journal.none { "ropes" in it.readText(Charsets.ISO_8859_1) }, "a note can be read in the store's files")
    }

    @Test
    fun `the sample takes notes, trains in pieces and answers`() = runBlocking<Unit>(Dispatchers.Default) {
        val notebook = Notebook(File("$folder/model.gguf"), File("$folder/store")) { ByteArray(32) { 7 } }
        tiny.inputStream().use { notebook.importModel(it) }
        assertEquals(tiny.length(), notebook.model.length())
        notes.forEachIndexed { index, (question, answer) -> assertEquals(index + 1, notebook.add(question, answer)) }
        assertNull(notebook.ask("What is in box 3?").second)
        notebook.train().first { it.phase == Phase.TRAINING && it.step > 0 }
        var last: Phase? = null
        notebook.train().collect { progress ->
            last = progress.phase
            assertTrue(describe(progress).isNotEmpty())
        }
        assertEquals(Phase.FINISHED, last)
    }
}
