package org.nightgraft

import java.io.File
import java.io.RandomAccessFile
import java.nio.file.Path
import java.time.Instant
import kotlin.io.path.writeText
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

internal class StoreTest {
    @TempDir lateinit var folder: Path

    private val store get() = "$folder/store"
    private val key = ByteArray(32) { it.toByte() }
    private val otherKey = ByteArray(32) { (it + 1).toByte() }

    private fun <T> inStore(settings: StoreSettings = StoreSettings.unencrypted(), work: suspend AdapterStore.() -> T): T =
        runBlocking { AdapterStore.open(store, settings).use { it.work() } }

    @Test
    fun `examples come back as they went in, once`() {
        val chat = Example.answer("Who feeds the cat?", "You do, at six.")
        val examples = listOf(chat, Example.Completion("The boat is called", " Marrowby."), Example.Text("Rain."))
        val before = Instant.now().minusSeconds(2)
        val ids = inStore { add(examples) }
        assertEquals(3, ids.toSet().size)
        inStore {
            assertEquals(ids, add(examples), "the same examples keep their numbers")
            val stored = examples()
            assertEquals(ids, stored.map { it.id })
            assertTrue(stored.all { it.added in before..Instant.now().plusSeconds(2) }, "$stored")
            assertTrue("You do, at six." in stored[0].json && "Marrowby" in stored[1].json, "$stored")
            assertEquals(examples, stored.map { it.example })
            assertTrue(bytesUsed() > 0)
            assertNull(current())
            assertEquals(emptyList<Graft>(), grafts())
            assertEquals(emptyList<Damage>(), verify())
        }
    }

    @Test
    fun `a deleted example is in no file any more`() {
        val secret = "The alarm's made-up code is 48151623."
        inStore {
            val ids = add(listOf(Example.Text(secret), Example.Text("The cat is called Ink.")))
            assertTrue(filesHold(secret), "the test would see it")
            val report = delete(listOf(ids[0], 987654321))
            assertEquals(listOf(ids[0]), report.deleted)
            assertEquals(listOf(ids[1]), examples().map { it.id })
        }
        assertTrue(!filesHold(secret))
    }

    @Test
    fun `what is forgotten is in no file and in no graft, and what is left goes out`() = runBlocking<Unit> {
        SessionFixture.with(folder, SHORT) {
            session.runSlice()
            store.promoteAnyway(1)
            val before = listing()
            assertTrue("grafts/00000001.ngs" in before, "$before")
            // One of these was learned: four are held out at most.
            val report = store.forget((1L..5L).toList())
            assertEquals(ForgetReport((1L..5L).toList(), listOf(1L), null, false), report)
            assertEquals(listOf("grafts/00000001.ngs"), before - listing().toSet())
            assertNull(store.current())

            val out = File("$folder/mine.jsonl")
            assertEquals(19L, store.exportExamples(out.path))
            assertEquals(store.examples().map { it.json }, out.readLines())
            assertThrows<NightgraftException.Unsupported> {
                runBlocking { store.exportExamples("$folder/store/mine.jsonl") }
            }
        }
    }

    @Test
    fun `a destroyed store leaves nothing, and nothing else is touched`() {
        inStore(StoreSettings(key)) {
            add(madeUpExamples(3))
            assertThrows<NightgraftException.StoreLocked> { runBlocking { AdapterStore.destroy(store) } }
        }
        val before = listing()
        val report = runBlocking { AdapterStore.destroy(store) }
        assertEquals(before.toSet() to emptyList<String>(), report.removed.toSet() to report.left)
        assertTrue(!File(store).exists())
        File("$folder/thesis.tex").writeText("years of work")
        assertThrows<NightgraftException.Unsupported> { runBlocking { AdapterStore.destroy("$folder") } }
        assertEquals("years of work", File("$folder/thesis.tex").readText())
    }

    @Test
    fun `a change of the key that was interrupted is finished by opening with both keys`() {
        inStore(StoreSettings(key)) { add(madeUpExamples(3)) }
        repeat(2) { inStore(StoreSettings(otherKey, formerKey = key)) { assertEquals(3, examples().size) } }
        assertThrows<NightgraftException.WrongKey> { inStore(StoreSettings(key)) { examples() } }
        inStore(StoreSettings(otherKey)) { assertEquals(3, examples().size) }
    }

    private fun listing() =
        File(store).walk().filter { it.isFile }.map { it.relativeTo(File(store)).path }.toList()

    private fun filesHold(text: String) =
        File(store).walk().filter { it.isFile }.any { text in it.readText(Charsets.ISO_8859_1) }

    @Test
    fun `a file is imported, bad lines are told or counted`() {
        val file = folder.resolve("notes.jsonl").also {
            it.writeText("{\"text\": \"One.\"}\n{\"text\": 2}\n{\"prompt\": \"Three\", \"completion\": \" four.\"}\n")
        }
        inStore {
            assertThrows<NightgraftException.InvalidData> { runBlocking { importFile("$file") } }
            assertEquals(0, examples().size, "all or nothing")
            val report = importFile("$file", skipBad = true)
            assertEquals(2L to 1L, report.added to report.skipped)
            assertEquals(examples().map { it.id }, report.ids)
        }
    }

    @Test
    fun `another key and no key are refused`() {
        inStore(StoreSettings(key = key)) { add(madeUpExamples(3)) }
        assertThrows<NightgraftException.WrongKey> { inStore(StoreSettings(key = otherKey)) { examples() } }
        assertThrows<NightgraftException.WrongKey> { inStore { examples() } }
        inStore(StoreSettings(key = key)) { assertEquals(3, examples().size) }
    }

    @Test
    fun `a store can change its key`() {
        inStore(StoreSettings(key = key)) {
            add(madeUpExamples(3))
            rotateKey(otherKey)
            assertEquals(3, examples().size)
        }
        assertThrows<NightgraftException.WrongKey> { inStore(StoreSettings(key = key)) { examples() } }
        inStore(StoreSettings(key = otherKey)) { assertEquals(3, examples().size) }
    }

    @Test
    fun `a second opening is refused until the first is closed`() = runBlocking<Unit> {
        val first = AdapterStore.open(store, StoreSettings.unencrypted())
        assertThrows<NightgraftException.StoreLocked> { runBlocking { AdapterStore.open(store, StoreSettings.unencrypted()) } }
        first.close()
        first.close()
        assertThrows<NightgraftException.Cancelled> { runBlocking { first.examples() } }
        val second = AdapterStore.open(store, StoreSettings.unencrypted())
        second.release()
        AdapterStore.open(store, StoreSettings.unencrypted()).close()
    }

    @Test
    fun `a store that must be there is`() {
        assertThrows<NightgraftException> { inStore(StoreSettings.unencrypted(create = false)) { examples() } }
        assertTrue(!File(store).exists())
        inStore { add(madeUpExamples(1)) }
        inStore(StoreSettings.unencrypted(create = false)) { assertEquals(1, examples().size) }
    }

    @Test
    fun `settings that make no sense are refused`() {
        assertThrows<NightgraftException.Unsupported> { inStore(StoreSettings.unencrypted(keep = -1)) {} }
        assertThrows<NightgraftException> { inStore(StoreSettings(key = ByteArray(31))) {} }
    }

    @Test
    fun `what is not there cannot be used`() {
        inStore {
            assertThrows<NightgraftException> { runBlocking { promote(7) } }
            assertThrows<NightgraftException> { runBlocking { deleteGraft(7) } }
            BaseModel.open(TestFiles.tiny).use { model ->
                assertThrows<NightgraftException> {
                    runBlocking { export(7, GraftFormat.PEFT, model, "$folder/out") }
                }
            }
            assertTrue(!File("$folder/out").exists())
        }
    }

    @Test
    fun `a quota is kept`() {
        val texts = List(200) { Example.Text("Line $it. " + "made-up text ".repeat(200)) }
        inStore(StoreSettings.unencrypted(quota = 100_000)) {
            assertThrows<NightgraftException.StorageFull> { runBlocking { add(texts) } }
            assertEquals(0, examples().size)
        }
    }

    @Test
    fun `a damaged file is told`() {
        inStore(StoreSettings(key = key)) { add(madeUpExamples(30)) }
        val largest = File(store).walk().filter { it.isFile }.maxBy { it.length() }
        RandomAccessFile(largest, "rw").use { file ->
            file.seek(file.length() / 2)
            val byte = file.read()
            file.seek(file.length() / 2)
            file.write(byte xor 1)
        }
        val thrown = runCatching { inStore(StoreSettings(key = key)) { verify() to examples().size } }
        val told = thrown.exceptionOrNull()
        if (told == null) {
            assertTrue(thrown.getOrThrow().first.isNotEmpty(), "neither refused nor listed")
        } else {
            assertTrue(told is NightgraftException.Corrupted, "$told")
            assertNotNull(told.message)
        }
    }
}
