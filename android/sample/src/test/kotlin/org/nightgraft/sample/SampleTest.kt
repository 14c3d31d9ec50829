package org.nightgraft.sample

import java.io.File
import java.nio.file.Path
import javax.xml.parsers.DocumentBuilderFactory
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.AdapterStore
import org.nightgraft.NothingToDoReason
import org.nightgraft.PersonalizationSession
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.StoreSettings
import org.nightgraft.readme.firstPersonalizedAnswer
import org.nightgraft.testing.MemoryKey
import org.nightgraft.testing.TinyModel
import org.nightgraft.useSuspending
import org.w3c.dom.Element

/** The sample and the README, through the public surface alone. */
class SampleTest {
    @TempDir lateinit var folder: Path

    private val real get() = File(checkNotNull(System.getenv("NIGHTGRAFT_SMOLLM2")) { "NIGHTGRAFT_SMOLLM2 names no model" })
    private val notes = List(24) { "What is in box $it?" to "In box $it there are $it ropes." }

    @Test
    fun `the README leads to the first answer in under forty lines`() {
        val lines = File("../README.md").readText().substringAfter("\nsuspend fun ").substringBefore("\n```").lines()
        assertTrue(lines.size in 10..<40, "${lines.size} lines")
    }

    /** A slice of what the worker and the nights train. */
    private fun Notebook.train(): Flow<Progress> = flow {
        val configuration = checkNotNull(configuration()) { "there is a model" }
        PersonalizationSession.open(configuration.model, configuration.store, configuration.settings).useSuspending {
            emitAll(it.slice())
        }
    }

    @Test
    fun `the README's lines lead from twenty notes to a personalized answer`() = runBlocking<Unit>(Dispatchers.Default) {
        val store = File("$folder/store")
        val key = ByteArray(32) { 5 }
        val twenty = notes.take(20)
        // What a graft that is not in use has learned would not be said.
        assertEquals("In box 3 there are 3 ropes.", firstPersonalizedAnswer(real, store, key, twenty, "What is in box 3?"))
        AdapterStore.open(store.path, StoreSettings(key = key)).use { assertEquals(1L, it.current()) }
        // A second time there is nothing new, and the answer is the same.
        assertEquals("In box 3 there are 3 ropes.", firstPersonalizedAnswer(real, store, key, twenty, "What is in box 3?"))
        val journal = File(store, "journal").listFiles().orEmpty()
        assertTrue(journal.isNotEmpty())
        assertTrue(journal.none { "ropes" in it.readText(Charsets.ISO_8859_1) }, "a note can be read in the store's files")
    }

    @Test
    fun `too few notes are told in numbers before anything is trained`() = runBlocking<Unit>(Dispatchers.Default) {
        val notebook = Notebook(TinyModel.file, File("$folder/store"), MemoryKey())
        notes.take(3).forEach { (question, answer) -> notebook.add(question, answer) }
        val last = notebook.train().toList().last()
        assertEquals(Phase.NOTHING_TO_DO, last.phase)
        assertEquals(NothingToDoReason.TooFew(have = 3, need = 16), last.nothingToDo)
        assertEquals("13 more notes are needed.", describe(last))
    }

    @Test
    fun `the sample takes notes, trains in pieces and answers`() = runBlocking<Unit>(Dispatchers.Default) {
        val notebook = Notebook(File("$folder/model.gguf"), File("$folder/store"), MemoryKey())
        TinyModel.file.inputStream().use { notebook.importModel(it) }
        assertEquals(TinyModel.file.length(), notebook.model.length())
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

    @Test
    fun `what no backup takes along no transfer does either`() {
        val parser = DocumentBuilderFactory.newInstance().newDocumentBuilder()
        val rules = parser.parse(File("src/main/res/xml/data_extraction_rules.xml"))
        fun excluded(section: String): Set<String> {
            val excludes = (rules.getElementsByTagName(section).item(0) as Element).getElementsByTagName("exclude")
            return List(excludes.length) { (excludes.item(it) as Element).let { rule -> rule.getAttribute("domain") + "/" + rule.getAttribute("path") } }.toSet()
        }
        assertTrue(setOf("file/store", "file/store.key", "file/model.gguf").all { it in excluded("cloud-backup") })
        assertEquals(excluded("cloud-backup"), excluded("device-transfer"))
        val manifest = parser.parse(File("src/main/AndroidManifest.xml"))
        val application = manifest.getElementsByTagName("application").item(0) as Element
        assertEquals("@xml/data_extraction_rules", application.getAttribute("android:dataExtractionRules"))
    }

    @Test
    fun `the manifests are XML, and name a job that there is`() {
        val parser = DocumentBuilderFactory.newInstance().newDocumentBuilder()
        parser.parse(File("../nightgraft/src/main/AndroidManifest.xml"))
        val services = parser.parse(File("src/main/AndroidManifest.xml")).getElementsByTagName("service")
        val names = List(services.length) { services.item(it).attributes.getNamedItem("android:name").nodeValue }
        val name = names.single { it.startsWith(".") } // below the app's package
        assertNotNull(javaClass.getResource("/org/nightgraft/sample${name.replace('.', '/')}.class"))
    }
}
