package org.nightgraft

import org.nightgraft.ffi.BaseModel as FfiModel
import org.nightgraft.ffi.BytesListener
import org.nightgraft.ffi.ListenerException
import org.nightgraft.ffi.ModelInfo as FfiModelInfo
import org.nightgraft.ffi.verifyModel

/**
 * A language model in a GGUF file: mapped into memory, never written, never copied.
 *
 * While it is in use the file must stay as it is. Download a new model beside it, under another name, and rename it when
 * nothing uses the old one: a file that is written in place, replaced or removed ends the work with
 * [NightgraftException.ModelChanged], and everything saved.
 *
 * Sessions and generators that were opened with it keep the file mapped; closing the model is safe while they run. All
 * functions may be called from any thread.
 */
public class BaseModel private constructor(internal val ffi: FfiModel) : AutoCloseable {
    /** What the file says about itself. */
    public val info: ModelInfo by lazy { native { ffi.info() }.toPublic() }

    /**
     * Cuts [text] as the model does.
     *
     * @throws NightgraftException.InvalidModel if the file's tokenizer is of an unknown kind
     */
    public suspend fun tokenize(text: String): List<Token> =
        native { ffi.tokenize(text) }.map { Token(it.id.toInt(), it.text) }

    /** Gives the handle back. A second call does nothing. */
    override fun close(): Unit = ffi.destroy()

    /** Opens models. */
    public companion object {
        /**
         * Opens the GGUF file at [path] and checks all of its headers.
         *
         * @throws NightgraftException.InvalidModel if it cannot be read, is damaged, or is no model
         */
        public suspend fun open(path: String): BaseModel = BaseModel(native { FfiModel.open(path) })

        /**
         * Reads all of a downloaded file and compares it with what was published; returns if it is the same. A coroutine that
         * is cancelled stops reading.
         *
         * @param path the file
         * @param bytes the size that it must have, which is looked at first
         * @param sha256 the SHA-256 that it must have, in 64 hexadecimal digits
         * @param onBytes is called from a thread of the library with the bytes read so far; what it throws ends the reading
         * @throws NightgraftException.InvalidModel if the file is missing, incomplete or another one: fetch it again
         */
        public suspend fun verify(path: String, bytes: Long, sha256: String, onBytes: ((Long) -> Unit)? = null) {
            val size = checkedSettings { bytes.unsigned("bytes") }
            val relay = onBytes?.let(::BytesRelay)
            native({ relay?.thrown }) { verifyModel(path, size, sha256, relay) }
        }
    }
}

/**
 * What is in a model's file.
 *
 * @property path the file
 * @property bytes its size
 * @property architecture the family, such as `llama`
 * @property name the name that its makers gave it
 * @property parameters how many numbers it has
 * @property layers how many blocks it has
 * @property context how many tokens it was made for
 * @property vocabulary how many tokens it knows
 * @property hasChatTemplate whether it can chat: [Generator.chat] and [Example.Chat] need it
 * @property fingerprint tells models apart; an adapter fits the model that it was trained on
 * @property notTrainable why it cannot be personalized; null if it can
 */
@ConsistentCopyVisibility
public data class ModelInfo
internal constructor(
    val path: String,
    val bytes: Long,
    val architecture: String,
    val name: String?,
    val parameters: Long,
    val layers: Int?,
    val context: Int?,
    val vocabulary: Int?,
    val hasChatTemplate: Boolean,
    val fingerprint: String,
    val notTrainable: String?,
)

/**
 * A piece of text as the model sees it.
 *
 * @property id its number in the vocabulary
 * @property text what it stands for; a part of a character is shown as a replacement character
 */
@ConsistentCopyVisibility
public data class Token internal constructor(val id: Int, val text: String)

private fun FfiModelInfo.toPublic() =
    ModelInfo(
        path = path,
        bytes = bytes.toLong(),
        architecture = architecture,
        name = name,
        parameters = parameters.toLong(),
        layers = layers?.toInt(),
        context = context?.toInt(),
        vocabulary = vocabulary?.toInt(),
        hasChatTemplate = hasChatTemplate,
        fingerprint = fingerprint,
        notTrainable = notTrainable,
    )

/** Hands a count to the app, and keeps what the app throws: the native library is only told that it did. */
private class BytesRelay(private val onBytes: (Long) -> Unit) : BytesListener {
    @Volatile
    var thrown: Throwable? = null
        private set

    override fun onBytes(read: ULong) {
        try {
            onBytes.invoke(read.toLong())
        } catch (error: Throwable) {
            thrown = error
            throw ListenerException.Failed(error.javaClass.name)
        }
    }
}
