import java.io.File
import java.nio.file.Path
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.AdapterStore
import org.nightgraft.StoreSettings
import org.nightgraft.readme.firstPersonalizedAnswer

/** An app that has nothing but the library's coordinates and the README's first example. */
class FirstAnswerTest {
    @TempDir lateinit var folder: Path

    @Test
    fun `the library's first answer is a learned one`() = runBlocking<Unit>(Dispatchers.Default) {
        val model = File(checkNotNull(System.getenv("NIGHTGRAFT_SMOLLM2")) { "NIGHTGRAFT_SMOLLM2 names no model" })
        val store = File("$folder/store")
        val key = ByteArray(32) { 5 }
        val notes = List(20) { "What is in box $it?" to "In box $it there are $it ropes." }
        assertEquals("In box 3 there are 3 ropes.", firstPersonalizedAnswer(model, store, key, notes, "What is in box 3?"))
        AdapterStore.open(store.path, StoreSettings(key = key)).use { assertEquals(1L, it.current(), "the graft in use") }
    }
}
