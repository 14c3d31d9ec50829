package org.nightgraft.android

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.NoSuchFileException
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.nio.file.StandardOpenOption
import java.security.SecureRandom
import org.nightgraft.NightgraftException

/**
 * A data key in a file: the mark `NGKEY2`; the name of the key that wraps it, which wraps nothing else; the nonce; the wrapped
 * key. The name and the nonce have their lengths before them, in one byte each. The file is there whole or not at all.
 *
 * Files of earlier builds have the mark `NGKEY1` and no name: one key, [alias], wraps all of them.
 */
internal class WrappedKeyFile(private val file: File, private val alias: String, private val wrapper: KeyWrapper) {
    fun load(): ByteArray? = synchronized(LOCK) { read()?.let(::unwrap) }

    fun loadOrCreate(): ByteArray = synchronized(LOCK) { read()?.let(::unwrap) ?: create() }

    /** Removes the wrapping key first: as long as the file is there, removing both can be tried again. */
    fun delete() {
        synchronized(LOCK) {
            ownAlias()?.let(wrapper::forget)
            Files.deleteIfExists(file.toPath())
            Files.deleteIfExists(scratch().toPath())
            syncFolder()
        }
    }

    private fun create(): ByteArray {
        val key = randomBytes(KEY_BYTES)
        val own = "$alias.${randomBytes(ALIAS_RANDOM_BYTES).joinToString("") { "%02x".format(it) }}"
        val header = MAGIC + withLength(own.toByteArray())
        val wrapped = wrapper.wrap(own, key, header)
        try {
            write(header + withLength(wrapped.nonce) + wrapped.bytes)
        } catch (error: IOException) {
            runCatching { wrapper.forget(own) }.onFailure(error::addSuppressed)
            throw error
        }
        return key
    }

    private fun write(bytes: ByteArray) {
        file.absoluteFile.parentFile?.mkdirs()
        FileOutputStream(scratch()).use { out ->
            out.write(bytes)
            out.fd.sync()
        }
        Files.move(scratch().toPath(), file.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
        syncFolder()
    }

    private fun read(): ByteArray? =
        try {
            Files.readAllBytes(file.toPath())
        } catch (_: NoSuchFileException) {
            null
        }

    private fun unwrap(bytes: ByteArray): ByteArray {
        val content = parse(bytes)
        val key = wrapper.unwrap(content.ownAlias ?: alias, content.wrapped, content.header)
        if (key.size != KEY_BYTES) throw NightgraftException.Corrupted("$file holds a key of ${key.size} bytes")
        return key
    }

    /** The name of the key that wraps this file and no other one; null if there is none, or the file does not say. */
    private fun ownAlias(): String? =
        try {
            read()?.let(::parse)?.ownAlias
        } catch (_: NightgraftException.Corrupted) {
            null
        }

    private fun parse(bytes: ByteArray): Content {
        val rest = ByteBuffer.wrap(bytes)
        val magic = rest.take(MAGIC.size)
        val isEarlier = magic.contentEquals(EARLIER_MAGIC)
        if (!isEarlier && !magic.contentEquals(MAGIC)) throw NightgraftException.Corrupted("$file is no key file")
        val ownAlias = if (isEarlier) null else rest.takeWithLength().decodeToString()
        val header = bytes.copyOf(rest.position())
        val wrapped = Wrapped(nonce = rest.takeWithLength(), bytes = rest.take(KEY_BYTES + TAG_BYTES))
        if (rest.hasRemaining()) throw cut(bytes.size)
        return Content(ownAlias, header, wrapped)
    }

    private fun ByteBuffer.takeWithLength() = take(take(1).single().toUByte().toInt())

    private fun ByteBuffer.take(length: Int): ByteArray {
        if (length == 0 || length > remaining()) throw cut(limit())
        return ByteArray(length).also(::get)
    }

    private fun cut(size: Int) = NightgraftException.Corrupted("$file has $size bytes, which no key file has")

    private fun scratch() = File("${file.path}.new")

    /** A renamed file is there after a power cut only once its folder is flushed. */
    private fun syncFolder() {
        val folder = file.absoluteFile.parentFile ?: return
        try {
            FileChannel.open(folder.toPath(), StandardOpenOption.READ).use { it.force(true) }
        } catch (_: IOException) {
            // Some file systems cannot flush a folder; they order renames themselves.
        }
    }

    /** What a file says. The [header], which is before the nonce, is bound to the wrapped key. */
    private class Content(val ownAlias: String?, val header: ByteArray, val wrapped: Wrapped)

    private companion object {
        val MAGIC = "NGKEY2".toByteArray()
        val EARLIER_MAGIC = "NGKEY1".toByteArray()
        const val KEY_BYTES = 32
        const val TAG_BYTES = 16
        const val ALIAS_RANDOM_BYTES = 8

        /** Guards all key files of the process: two threads must not both make the key. */
        val LOCK = Any()

        fun randomBytes(count: Int) = ByteArray(count).also(SecureRandom()::nextBytes)

        fun withLength(part: ByteArray): ByteArray {
            require(part.size in 1..UByte.MAX_VALUE.toInt()) { "a part of ${part.size} bytes" }
            return byteArrayOf(part.size.toByte()) + part
        }
    }
}
