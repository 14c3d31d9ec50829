package org.nightgraft.android

import java.security.InvalidKeyException
import java.security.SecureRandom
import javax.crypto.SecretKey
import javax.crypto.spec.SecretKeySpec

/** A Keystore in memory, with keys of the JVM, that fails when it is told to. */
internal class FakeKeystore : Keystore {
    val keys = mutableMapOf<String, SecretKey>()

    /** What the next calls come to, one each; after that it works. */
    val faults = ArrayDeque<Fault>()

    override fun find(alias: String): SecretKey? =
        when (val fault = faults.removeFirstOrNull()) {
            Fault.Blind -> null
            is Fault.Throws -> throw fault.error
            null -> keys[alias]
        }

    override fun generate(alias: String): SecretKey {
        fail()
        return SecretKeySpec(ByteArray(32).also(SecureRandom()::nextBytes), "AES").also { keys[alias] = it }
    }

    override fun delete(alias: String) {
        fail()
        keys.remove(alias)
    }

    override fun isLost(error: Exception) = error is Invalidated

    private fun fail() {
        (faults.removeFirstOrNull() as? Fault.Throws)?.let { throw it.error }
    }

    sealed interface Fault {
        /** It says that there is no such key. */
        data object Blind : Fault

        class Throws(val error: Exception) : Fault
    }

    /** As `KeyPermanentlyInvalidatedException`. */
    class Invalidated : InvalidKeyException()
}

/** Wraps with [keystore] and waits for nothing. */
internal fun impatientWrapper(keystore: Keystore) = KeyWrapper(keystore, sleep = {})
