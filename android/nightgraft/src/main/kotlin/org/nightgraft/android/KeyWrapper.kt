package org.nightgraft.android

import java.security.InvalidKeyException
import javax.crypto.AEADBadTagException
import javax.crypto.Cipher
import javax.crypto.spec.GCMParameterSpec
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import org.nightgraft.NightgraftException

/** An encrypted key. */
internal class Wrapped(val nonce: ByteArray, val bytes: ByteArray)

/**
 * Encrypts keys with keys of a Keystore, which makes the nonces itself.
 *
 * A Keystore fails now and then, and then works again: what it cannot do is tried several times, and only a key that is lost for
 * good, or that it never had in all of them, is [NightgraftException.WrongKey].
 *
 * @param sleep how to wait between two attempts
 */
internal class KeyWrapper(
    private val keystore: Keystore,
    private val sleep: (Duration) -> Unit = { Thread.sleep(it.inWholeMilliseconds) },
) {
    /** Encrypts [key] with a new key [alias], bound to [context]. */
    fun wrap(alias: String, key: ByteArray, context: ByteArray): Wrapped = retrying(alias) {
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.ENCRYPT_MODE, keystore.generate(alias))
        cipher.updateAAD(context)
        Wrapped(cipher.iv, cipher.doFinal(key))
    }

    /** Decrypts what [wrap] made. */
    fun unwrap(alias: String, wrapped: Wrapped, context: ByteArray): ByteArray = retrying(alias) {
        val key = keystore.find(alias) ?: throw AbsentKeyException(alias)
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.DECRYPT_MODE, key, GCMParameterSpec(TAG_BITS, wrapped.nonce))
        cipher.updateAAD(context)
        cipher.doFinal(wrapped.bytes)
    }

    /** Removes the key [alias]. */
    fun forget(alias: String): Unit = retrying(alias) { keystore.delete(alias) }

    private inline fun <T> retrying(alias: String, work: () -> T): T {
        val failures = mutableListOf<Exception>()
        for (pause in PAUSES) {
            sleep(pause)
            try {
                return work()
            } catch (error: AEADBadTagException) {
                throw NightgraftException.WrongKey("the file was not wrapped by the Keystore's key '$alias'", error)
            } catch (error: Exception) {
                if (keystore.isLost(error)) {
                    throw NightgraftException.WrongKey("the Android Keystore has given up its key '$alias'", error)
                }
                failures += error
            }
        }
        val last = failures.last()
        if (failures.all { it is AbsentKeyException }) {
            throw NightgraftException.WrongKey("the Android Keystore has no key '$alias'", last)
        }
        throw NightgraftException.KeyUnavailable("the Android Keystore failed: ${last.javaClass.name}", last)
    }

    private class AbsentKeyException(alias: String) : InvalidKeyException("there is no key '$alias'")

    private companion object {
        const val CIPHER = "AES/GCM/NoPadding"
        const val TAG_BITS = 128

        /** Before each attempt. */
        val PAUSES = listOf(Duration.ZERO, 100.milliseconds, 300.milliseconds, 600.milliseconds)
    }
}
