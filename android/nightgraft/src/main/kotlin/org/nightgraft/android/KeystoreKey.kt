package org.nightgraft.android

import java.io.File
import org.nightgraft.NightgraftException
import org.nightgraft.StoreKey

/**
 * The key of a store ([org.nightgraft.StoreSettings.key]): 32 random bytes in a file, wrapped by an AES-GCM key that never
 * leaves the Android Keystore. Each file has a wrapping key of its own. The file is worthless on another device, in a backup,
 * and after the app was removed.
 *
 * For another key ([org.nightgraft.AdapterStore.rotateKey]) take another file: until the rotation has returned, and after a
 * crash in it, either of the two keys may be the store's. Then [reset] the old one.
 *
 * The Keystore's key may be used while the screen is locked: training runs at night. All functions block the thread: for a
 * moment, or for about a second while the Keystore fails and is asked again.
 *
 * @param file where the wrapped key is kept; put it into the app's no-backup folder
 * @param alias what the names of the wrapping keys in the Android Keystore begin with
 */
public class KeystoreKey internal constructor(file: File, alias: String, wrapper: KeyWrapper) : StoreKey {
    private val keyFile = WrappedKeyFile(file, alias, wrapper)

    public constructor(
        file: File,
        alias: String = "org.nightgraft.store",
    ) : this(file, alias, KeyWrapper(AndroidKeystore))

    /**
     * The key; null if its file is not there. A store that is there without it came from a backup or from another device,
     * and cannot be read any more: delete it and begin anew.
     *
     * @throws NightgraftException.KeyUnavailable if the Keystore fails at the moment: try again later
     * @throws NightgraftException.WrongKey if the Keystore does not have the wrapping key any more; what the store holds
     *   cannot be read then. [reset] and a new store are the way on.
     * @throws NightgraftException.Corrupted if the file is damaged
     * @throws java.io.IOException if the file cannot be read
     */
    override fun load(): ByteArray? = keyFile.load()

    /**
     * The key: made the first time, unwrapped every other time. Fill it with zeros once the store is open.
     *
     * @throws NightgraftException.KeyUnavailable as [load]
     * @throws NightgraftException.WrongKey as [load]
     * @throws NightgraftException.Corrupted as [load]
     * @throws java.io.IOException if the file cannot be read or written
     */
    override fun loadOrCreate(): ByteArray = keyFile.loadOrCreate()

    /**
     * Removes the wrapping key and the file. A store that was encrypted with this key can never be read again; keys in other
     * files stay as they are.
     *
     * @throws NightgraftException.KeyUnavailable if the Keystore fails at the moment: nothing was removed
     * @throws java.io.IOException if the file cannot be removed
     */
    override fun reset(): Unit = keyFile.delete()
}
