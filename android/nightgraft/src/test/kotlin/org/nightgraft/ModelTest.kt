package org.nightgraft

import java.io.File
import java.nio.file.Path
import kotlin.io.path.writeBytes
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

internal class ModelTest {
    @TempDir lateinit var folder: Path

    @Test
    fun `the library says its version`() {
        assertTrue(Regex("""\d+\.\d+\.\d+""").matches(Nightgraft.version), Nightgraft.version)
    }

    @Test
    fun `a model tells what is in it`() = runBlocking {
        BaseModel.open(TestFiles.smollm2).use { model ->
            val info = model.info
            assertEquals("llama", info.architecture)
            assertEquals(File(TestFiles.smollm2).length(), info.bytes)
            assertEquals(30, info.layers)
            assertEquals(49_152, info.vocabulary)
            assertTrue(info.parameters in 134_000_000..135_000_000, "${info.parameters}")
            assertTrue(info.hasChatTemplate)
            assertNull(info.notTrainable)
        }
    }

    @Test
    fun `a text is cut as the model cuts it`() = runBlocking {
        BaseModel.open(TestFiles.smollm2).use { model ->
            val tokens = model.tokenize("The capital of France is")
            assertEquals(listOf(504, 3575, 282, 4649, 314), tokens.map { it.id })
            assertEquals("The capital of France is", tokens.joinToString("") { it.text })
        }
    }

    @Test
    fun `a damaged, a cut and a missing model are refused`() = runBlocking<Unit> {
        val whole = File(TestFiles.tiny).readBytes()
        // Metadata that promises more than the file has, no magic at all, half a file, nothing.
        val damaged = whole.copyOf().also { bytes -> (8 until 24).forEach { bytes[it] = -1 } }
        val strange = whole.copyOf().also { it[0] = 0 }
        for ((name, bytes) in listOf("damaged" to damaged, "strange" to strange, "half" to whole.copyOf(whole.size / 2))) {
            val file = folder.resolve("$name.gguf").also { it.writeBytes(bytes) }
            assertThrows<NightgraftException.InvalidModel>(name) { runBlocking { BaseModel.open("$file") } }
        }
        assertThrows<NightgraftException.InvalidModel> { runBlocking { BaseModel.open("$folder/none.gguf") } }
    }

    @Test
    fun `a download is the model of the catalogue, or is to be fetched again`() = runBlocking<Unit> {
        val published = ModelCatalog["smollm2-135m"]
        val read = mutableListOf<Long>()
        published.verify(File(TestFiles.smollm2)) { read += it }
        assertEquals(published.bytes to read.sorted(), read.last() to read)
        assertTrue(published.url.startsWith("https://") && published.url.endsWith(published.file), published.url)
        assertThrows<NoSuchElementException> { ModelCatalog["smollm3"] }

        val cut = File("$folder/cut.gguf").also { it.writeBytes(ByteArray(1000)) }
        val again = assertThrows<NightgraftException.InvalidModel> { runBlocking { published.verify(cut) } }
        assertTrue("fetch it again" in again.message.orEmpty(), again.message)
        val stopped =
            assertThrows<NightgraftException.Cancelled> {
                runBlocking { published.verify(File(TestFiles.smollm2)) { error("made to") } }
            }
        assertTrue(stopped.chain().any { it is IllegalStateException }, "${stopped.chain()}")
        val download = File("$folder/download").also { File(TestFiles.smollm2).copyTo(it) }
        val installed = File("$folder/model.gguf")
        assertThrows<NightgraftException.InvalidModel> { runBlocking { published.install(cut, installed) } }
        assertEquals(listOf("cut.gguf", "download"), folder.toFile().list().orEmpty().sorted())
        published.install(download, installed)
        assertEquals(listOf("cut.gguf", "model.gguf"), folder.toFile().list().orEmpty().sorted())
        published.verify(installed)

        val hashing = launch(Dispatchers.Default) { published.verify(File(TestFiles.smollm2)) }
        hashing.cancelAndJoin()
        assertTrue(hashing.isCancelled)
    }

    @Test
    fun `a closed model refuses`() = runBlocking<Unit> {
        val model = BaseModel.open(TestFiles.tiny)
        model.close()
        model.close()
        assertThrows<NightgraftException.Cancelled> { runBlocking { model.tokenize("some text") } }
    }
}
