package org.nightgraft.android

import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyPermanentlyInvalidatedException
import android.security.keystore.KeyProperties
import java.io.File
import java.security.GeneralSecurityException
import java.security.KeyStore
import java.security.ProviderException
import java.security.UnrecoverableKeyException
import javax.crypto.AEADBadTagException
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec
import org.nightgraft.NightgraftException

/**
 * The key of a store ([org.nightgraft.StoreSettings.key]): 32 random bytes in a file, wrapped by an AES-GCM key that never
 * leaves the Android Keystore. The file is worthless on another device, in a backup, and after the app was removed.
 *
 * For another key ([org.nightgraft.AdapterStore.rotateKey]) take another file: until the rotation has returned, and after a
 * crash in it, either of the two keys may be the store's.
 *
 * The Keystore's key may be used while the screen is locked: training runs at night.
 *
 * @param file where the wrapped key is kept; put it into the app's no-backup folder
 * @param alias the name of the wrapping key in the Android Keystore
 */
public class KeystoreKey(file: File, private val alias: String = "org.nightgraft.store") {
    private val keyFile = WrappedKeyFile(file, KeystoreWrapper(alias))

    /**
     * The key: made the first time, unwrapped every other time. Fill it with zeros once the store is open.
     *
     * @throws NightgraftException.WrongKey if the Keystore does not have the wrapping key any more; what the store holds
     *   cannot be read then. [reset] and a new store are the way on.
     * @throws NightgraftException.Corrupted if the file is damaged
     * @throws java.io.IOException if the file cannot be read or written
     */
    public fun loadOrCreate(): ByteArray = keyFile.loadOrCreate()

    /**
     * Removes the file and the wrapping key. A store that was encrypted with this key can never be read again.
     *
     * @throws java.io.IOException if the file cannot be removed
     */
    public fun reset() {
        keyFile.delete()
        KeyStore.getInstance(PROVIDER).apply { load(null) }.deleteEntry(alias)
    }
}

private const val PROVIDER = "AndroidKeyStore"
private const val CIPHER = "AES/GCM/NoPadding"
private const val TAG_BITS = 128

/** Wraps with a key of the Android Keystore, which makes the nonces itself. */
private class KeystoreWrapper(private val alias: String) : KeyWrapper {
    override fun wrap(key: ByteArray, context: ByteArray): Wrapped = translating {
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.ENCRYPT_MODE, existing() ?: generate())
        cipher.updateAAD(context)
        Wrapped(cipher.iv, cipher.doFinal(key))
    }

    override fun unwrap(wrapped: Wrapped, context: ByteArray): ByteArray = translating {
        val key = existing() ?: throw NightgraftException.WrongKey("the Android Keystore has no key '$alias'")
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.DECRYPT_MODE, key, GCMParameterSpec(TAG_BITS, wrapped.nonce))
        cipher.updateAAD(context)
        cipher.doFinal(wrapped.bytes)
    }

    private inline fun <T> translating(work: () -> T): T =
        try {
            work()
        } catch (error: KeyPermanentlyInvalidatedException) {
            throw NightgraftException.WrongKey("the Android Keystore has given up its key '$alias'", error)
        } catch (error: UnrecoverableKeyException) {
            throw NightgraftException.WrongKey("the Android Keystore cannot read its key '$alias'", error)
        } catch (error: AEADBadTagException) {
            throw NightgraftException.WrongKey("the file was not wrapped by the Keystore's key '$alias'", error)
        } catch (error: GeneralSecurityException) {
            throw NightgraftException.Internal("the Android Keystore failed: ${error.javaClass.name}", error)
        } catch (error: ProviderException) {
            throw NightgraftException.Internal("the Android Keystore failed: ${error.javaClass.name}", error)
        }

    private fun existing(): SecretKey? =
        KeyStore.getInstance(PROVIDER).apply { load(null) }.getKey(alias, null) as SecretKey?

    private fun generate(): SecretKey {
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val spec =
            KeyGenParameterSpec.Builder(alias, purposes)
                .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
                .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
                .setKeySize(256)
                .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, PROVIDER).apply { init(spec) }.generateKey()
    }
}
