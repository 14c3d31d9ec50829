package org.nightgraft

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import org.nightgraft.ffi.Answer as FfiAnswer
import org.nightgraft.ffi.ChatOptions as FfiChatOptions
import org.nightgraft.ffi.Generator as FfiGenerator
import org.nightgraft.ffi.ListenerException
import org.nightgraft.ffi.TextListener as FfiTextListener

/**
 * Writes text with a model and a graft. Grafts are exchanged while the model stays loaded. It runs beside a session, on a
 * thread of its own, and answers one request after the other.
 *
 * All functions may be called from any thread. A coroutine that is cancelled ends its request.
 */
@OptIn(ForTests::class)
public class Generator private constructor(private val ffi: FfiGenerator) : TextGenerator {
    /**
     * Answers with the graft that is in use in [store] from now on, and returns its number; null for the base itself.
     *
     * @throws NightgraftException.InvalidData if it was trained on another model
     * @throws NightgraftException.Corrupted if its file is damaged
     */
    public suspend fun useCurrent(store: AdapterStore): Long? = native { ffi.useCurrent(store.ffi) }?.toLong()

    /**
     * Answers with a certain graft of [store] from now on.
     *
     * @throws NightgraftException.Unsupported if there is none with this number
     * @throws NightgraftException.InvalidData if it was trained on another model
     * @throws NightgraftException.Corrupted if its file is damaged
     */
    public suspend fun useGraft(store: AdapterStore, id: Long): Unit =
        native { ffi.useGraft(store.ffi, id.toULong()) }

    /**
     * Answers with an exported adapter from now on.
     *
     * @param path a PEFT folder or a GGUF file
     * @throws NightgraftException.InvalidData if it is no adapter, or one of another model
     */
    public suspend fun useAdapter(path: String): Unit = native { ffi.useAdapter(path) }

    /** Answers with the base alone from now on. */
    public suspend fun useBase(): Unit = native { ffi.useBase() }

    override fun chat(messages: List<Message>, options: ChatOptions): Flow<String> =
        textFlow { answer(messages, options, it) }

    override suspend fun answer(
        messages: List<Message>,
        options: ChatOptions,
        onText: ((String) -> Unit)?,
    ): Answer {
        val ffiOptions = options.toFfi()
        val relay = onText?.let(::TextRelay)
        return native({ relay?.thrown }) { ffi.chat(messages.map { it.toFfi() }, ffiOptions, relay) }.toPublic()
    }

    override fun complete(prompt: String, options: ChatOptions): Flow<String> =
        textFlow { completion(prompt, options, it) }

    override suspend fun completion(
        prompt: String,
        options: ChatOptions,
        onText: ((String) -> Unit)?,
    ): Answer {
        val ffiOptions = options.toFfi()
        val relay = onText?.let(::TextRelay)
        return native({ relay?.thrown }) { ffi.complete(prompt, ffiOptions, relay) }.toPublic()
    }

    override fun stop(): Unit = native { ffi.stop() }

    /** Ends what is being written and gives the handle back. A second call does nothing. */
    override fun close() {
        if (!ffi.uniffiIsDestroyed) runCatching { ffi.stop() }
        ffi.destroy()
    }

    /** No piece is dropped: an answer has an end, and its pieces are small. */
    private fun textFlow(run: suspend ((String) -> Unit) -> Unit): Flow<String> =
        channelFlow { run { piece -> trySend(piece) } }.buffer(Channel.UNLIMITED)

    /** Opens generators. */
    public companion object {
        /**
         * Loads [model] for writing, with the base alone at first.
         *
         * @param threads threads that compute; null for what suits the device
         * @throws NightgraftException.InvalidModel if llama.cpp cannot load it
         */
        public suspend fun open(model: BaseModel, threads: Int? = null): Generator {
            val count = checkedSettings { threads?.unsigned("threads") }
            return Generator(native { FfiGenerator.open(model.ffi, count) })
        }
    }
}

/**
 * How text is written.
 *
 * @property maxTokens the most tokens of an answer
 * @property temperature 0 for the likeliest text, the same every time; 1 for text as varied as what the model has read
 * @property seed of the randomness, above temperature 0
 */
public class ChatOptions(public val maxTokens: Int = 256, public val temperature: Float = 0f, public val seed: Int = 0)

/**
 * What was written.
 *
 * @property text the whole text
 * @property tokens its tokens
 * @property promptTokens the tokens of what came before
 * @property time how long it took
 * @property stopped whether it was stopped before its end
 */
@ConsistentCopyVisibility
public data class Answer
internal constructor(
    val text: String,
    val tokens: Int,
    val promptTokens: Int,
    val time: Duration,
    val stopped: Boolean,
) {
    /** Makes answers for tests. */
    public companion object {
        /** An answer of no model, with a token for each word. */
        @ForTests
        public fun of(text: String, stopped: Boolean = false): Answer =
            Answer(text, text.split(' ').size, promptTokens = 0, time = Duration.ZERO, stopped = stopped)
    }
}

internal fun ChatOptions.toFfi() = checkedSettings {
    FfiChatOptions(maxTokens = maxTokens.unsigned("maxTokens"), temperature = temperature, seed = seed.toUInt())
}

private fun FfiAnswer.toPublic() =
    Answer(
        text = text,
        tokens = tokens.toInt(),
        promptTokens = promptTokens.toInt(),
        time = seconds.seconds,
        stopped = stopped,
    )

/** Hands text to the app, and keeps what the app throws: the native library is only told that it did. */
private class TextRelay(private val onText: (String) -> Unit) : FfiTextListener {
    @Volatile
    var thrown: Throwable? = null
        private set

    override fun onText(piece: String) {
        try {
            onText.invoke(piece)
        } catch (error: Throwable) {
            thrown = error
            throw ListenerException.Failed(error.javaClass.name)
        }
    }
}
