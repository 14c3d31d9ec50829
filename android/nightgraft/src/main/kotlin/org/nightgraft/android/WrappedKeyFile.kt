package org.nightgraft.android

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.NoSuchFileException
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.nio.file.StandardOpenOption
import java.security.SecureRandom
import org.nightgraft.NightgraftException

/** Encrypts a key with another one. */
internal interface KeyWrapper {
    /** Encrypts [key], bound to [context]. */
    fun wrap(key: ByteArray, context: ByteArray): Wrapped

    /** Decrypts what [wrap] made, or throws [NightgraftException.WrongKey]. */
    fun unwrap(wrapped: Wrapped, context: ByteArray): ByteArray
}

/** An encrypted key. */
internal class Wrapped(val nonce: ByteArray, val bytes: ByteArray)

/**
 * A data key in a file: the mark `NGKEY1`, the nonce's length in one byte, the nonce, the wrapped key. The file is there
 * whole or not at all.
 */
internal class WrappedKeyFile(private val file: File, private val wrapper: KeyWrapper) {
    fun loadOrCreate(): ByteArray =
        synchronized(LOCK) {
            val bytes =
                try {
                    Files.readAllBytes(file.toPath())
                } catch (_: NoSuchFileException) {
                    return create()
                }
            unwrap(bytes)
        }

    fun delete() {
        synchronized(LOCK) {
            Files.deleteIfExists(file.toPath())
            Files.deleteIfExists(scratch().toPath())
            syncFolder()
        }
    }

    private fun create(): ByteArray {
        val key = ByteArray(KEY_BYTES).also(SecureRandom()::nextBytes)
        val wrapped = wrapper.wrap(key, MAGIC)
        check(wrapped.nonce.size in 1..MAX_NONCE) { "a nonce of ${wrapped.nonce.size} bytes" }
        file.absoluteFile.parentFile?.mkdirs()
        FileOutputStream(scratch()).use { out ->
            out.write(MAGIC + wrapped.nonce.size.toByte() + wrapped.nonce + wrapped.bytes)
            out.fd.sync()
        }
        Files.move(scratch().toPath(), file.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
        syncFolder()
        return key
    }

    private fun unwrap(bytes: ByteArray): ByteArray {
        val header = MAGIC.size + 1
        if (bytes.size < header || !bytes.copyOf(MAGIC.size).contentEquals(MAGIC)) {
            throw NightgraftException.Corrupted("$file is no key file")
        }
        val nonceEnd = header + bytes[MAGIC.size]
        if (nonceEnd <= header || bytes.size != nonceEnd + KEY_BYTES + TAG_BYTES) {
            throw NightgraftException.Corrupted("$file has ${bytes.size} bytes, which no key file has")
        }
        val wrapped = Wrapped(bytes.copyOfRange(header, nonceEnd), bytes.copyOfRange(nonceEnd, bytes.size))
        val key = wrapper.unwrap(wrapped, MAGIC)
        if (key.size != KEY_BYTES) throw NightgraftException.Corrupted("$file holds a key of ${key.size} bytes")
        return key
    }

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

    private companion object {
        val MAGIC = "NGKEY1".toByteArray()
        const val KEY_BYTES = 32
        const val TAG_BYTES = 16
        const val MAX_NONCE = 64

        /** Guards all key files of the process: two threads must not both make the key. */
        val LOCK = Any()
    }
}
