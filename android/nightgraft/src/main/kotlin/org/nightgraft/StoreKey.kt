package org.nightgraft

/**
 * The key of a store ([StoreSettings.key]), wherever it is kept. [org.nightgraft.android.KeystoreKey] is the one of apps, which
 * their tests may have in another place. All functions may block the thread for a moment.
 */
public interface StoreKey {
    /**
     * The key; null if there is none. A store that is there without it came from a backup or from another device, and cannot be
     * read any more: delete it and begin anew.
     */
    public fun load(): ByteArray?

    /** The key: 32 random bytes, made the first time. Fill them with zeros once the store is open. */
    public fun loadOrCreate(): ByteArray

    /** Removes the key. A store that was encrypted with it can never be read again. */
    public fun reset()
}
