package org.nightgraft.sample

import java.io.File
import java.io.InputStream
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.nightgraft.AdapterStore
import org.nightgraft.BaseModel
import org.nightgraft.ChatOptions
import org.nightgraft.Example
import org.nightgraft.Generator
import org.nightgraft.Message
import org.nightgraft.Progress
import org.nightgraft.SessionSettings
import org.nightgraft.StoreKey
import org.nightgraft.StoreSettings
import org.nightgraft.android.NightConfiguration

/** The app's one job, without a screen: takes notes, learns them, answers with and without what it learned. */
class Notebook(val model: File, private val store: File, private val key: StoreKey) {
    /** A model and a store that are open. */
    class Open(val model: BaseModel, val store: AdapterStore)

    /** How far the training is, or was, that the owner has asked for; null before the first. */
    val training = MutableStateFlow<Progress?>(null)

    private val opening = Mutex()
    private var opened: Open? = null

    /** Opens the model and the store, the first time. */
    suspend fun open(): Open =
        opening.withLock {
            opened
                ?: withContext(Dispatchers.IO) {
                    val base = BaseModel.open(model.path)
                    val secret = key.loadOrCreate()
                    try {
                        Open(base, AdapterStore.open(store.path, StoreSettings(key = secret)))
                    } catch (error: Exception) {
                        base.close()
                        throw error
                    } finally {
                        secret.fill(0)
                    }
                }.also { opened = it }
        }

    /** Copies a model into the app, whole or not at all. */
    suspend fun importModel(from: InputStream): Unit =
        withContext(Dispatchers.IO) {
            val scratch = File("${model.path}.new")
            scratch.outputStream().use { out ->
                from.copyTo(out)
                out.fd.sync()
            }
            Files.move(scratch.toPath(), model.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
        }

    /** Keeps what is to be answered to a question, and returns how many notes there are. */
    suspend fun add(question: String, answer: String): Int {
        val store = open().store
        store.add(listOf(Example.answer(question, answer)))
        return store.examples().size
    }

    /** What is to be trained; null while there is no model. */
    suspend fun configuration(): NightConfiguration? {
        if (!model.exists()) return null
        val open = open()
        return NightConfiguration(open.model, open.store, SETTINGS, closeAfterwards = false)
    }

    /** Answers twice: as the model came, and with what it learned. The second is null while there is nothing. */
    suspend fun ask(question: String): Pair<String, String?> {
        val open = open()
        val messages = listOf(Message.user(question))
        val options = ChatOptions(maxTokens = 64)
        return Generator.open(open.model).use { generator ->
            val before = generator.answer(messages, options).text
            val graft = generator.useCurrent(open.store)
            before to graft?.let { generator.answer(messages, options).text }
        }
    }

    companion object {
        /** Few and short notes are to be learned more than three times. */
        val SETTINGS = SessionSettings(epochs = 4)
    }
}
