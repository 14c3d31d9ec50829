package org.nightgraft.android

import android.os.Build
import android.security.KeyStoreException as SystemKeyStoreException
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyPermanentlyInvalidatedException
import android.security.keystore.KeyProperties
import java.security.KeyStore
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey

/** The Android Keystore, as far as wrapping a key needs it. Every call may fail, for the moment or for good. */
internal interface Keystore {
    /** The AES key named [alias]; null if the Keystore says that it has none, which is not always true. */
    fun find(alias: String): SecretKey?

    /** Makes the AES key [alias]. */
    fun generate(alias: String): SecretKey

    /** Removes the key [alias], if there is one. */
    fun delete(alias: String)

    /** Whether the system says with [error] that the key is lost for good. */
    fun isLost(error: Exception): Boolean
}

/** The device's own. */
internal object AndroidKeystore : Keystore {
    private const val PROVIDER = "AndroidKeyStore"

    override fun find(alias: String): SecretKey? = keyStore().getKey(alias, null) as SecretKey?

    override fun generate(alias: String): SecretKey {
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val spec =
            KeyGenParameterSpec.Builder(alias, purposes)
                .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
                .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
                .setKeySize(256)
                .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, PROVIDER).apply { init(spec) }.generateKey()
    }

    override fun delete(alias: String): Unit = keyStore().deleteEntry(alias)

    override fun isLost(error: Exception): Boolean =
        generateSequence<Throwable>(error) { it.cause }.any { it is KeyPermanentlyInvalidatedException || it.isOfDamage() }

    private fun Throwable.isOfDamage() =
        Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU &&
            this is SystemKeyStoreException &&
            numericErrorCode == SystemKeyStoreException.ERROR_KEY_CORRUPTED

    private fun keyStore() = KeyStore.getInstance(PROVIDER).apply { load(null) }
}
