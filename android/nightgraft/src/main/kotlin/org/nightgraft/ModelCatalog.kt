package org.nightgraft

import java.io.File
import java.nio.file.AtomicMoveNotSupportedException
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import org.nightgraft.ffi.publishedModels

/** The models that are known to be trainable, and where to get them. Any other GGUF file may do as well. */
public object ModelCatalog {
    /** All of them, the smallest first. */
    public val models: List<PublishedModel> by lazy {
        native { publishedModels() }.map {
            PublishedModel(
                name = it.name,
                description = it.description,
                url = it.url,
                file = it.file,
                bytes = it.bytes.toLong(),
                sha256 = it.sha256,
                licence = it.licence,
                context = it.context.toInt(),
                memoryToTrain = it.memoryToTrain?.toLong(),
            )
        }
    }

    /**
     * The model of a short name.
     *
     * @throws NoSuchElementException if there is none
     */
    public operator fun get(name: String): PublishedModel =
        models.find { it.name == name } ?: throw NoSuchElementException("no model is called $name")
}

/**
 * A model that can be downloaded.
 *
 * @property name its short name, such as `smollm2-135m`
 * @property description what it is, in a few words of English
 * @property url where the file can be downloaded
 * @property file the file's own name
 * @property bytes its size
 * @property sha256 its SHA-256, in hexadecimal digits
 * @property licence the terms that it is under, by their SPDX identifier
 * @property context how many tokens it was made for
 * @property memoryToTrain bytes that training takes besides the mapped file, with the default settings and 256 tokens at a
 *   time; null where it is not known. [Planner.memory] says it for a model that is there
 */
public class PublishedModel
internal constructor(
    public val name: String,
    public val description: String,
    public val url: String,
    public val file: String,
    public val bytes: Long,
    public val sha256: String,
    public val licence: String,
    public val context: Int,
    public val memoryToTrain: Long?,
) {
    /**
     * Returns if [download] is this model, whole. See [BaseModel.verify].
     *
     * @throws NightgraftException.InvalidModel if it is not: fetch it again
     */
    public suspend fun verify(download: File, onBytes: ((Long) -> Unit)? = null): Unit =
        BaseModel.verify(download.path, bytes, sha256, onBytes)

    /**
     * Checks [download] and moves it to [to], also to another disk: there it appears whole or not at all. A model that is in
     * use must not be replaced; see [BaseModel].
     *
     * @throws NightgraftException.InvalidModel if it is not this model: fetch it again
     * @throws java.io.IOException if it cannot be moved there
     */
    public suspend fun install(download: File, to: File, onBytes: ((Long) -> Unit)? = null) {
        verify(download, onBytes)
        withContext(Dispatchers.IO) { move(download, to) }
    }

    private fun move(from: File, to: File) {
        try {
            Files.move(from.toPath(), to.toPath(), ATOMIC_MOVE)
        } catch (_: AtomicMoveNotSupportedException) {
            val scratch = File("${to.path}.new")
            from.inputStream().use { input ->
                scratch.outputStream().use { output ->
                    input.copyTo(output)
                    output.fd.sync()
                }
            }
            Files.move(scratch.toPath(), to.toPath(), ATOMIC_MOVE)
            Files.delete(from.toPath())
        }
    }
}
