package org.nightgraft.testing

import java.security.SecureRandom
import org.nightgraft.StoreKey

/** A store's key without a Keystore, which a computer does not have. It is there as long as this object. */
public class MemoryKey : StoreKey {
    private var key: ByteArray? = null

    @Synchronized override fun load(): ByteArray? = key?.copyOf()

    @Synchronized
    override fun loadOrCreate(): ByteArray =
        load() ?: ByteArray(KEY_BYTES).also { made ->
            SecureRandom().nextBytes(made)
            key = made.copyOf()
        }

    @Synchronized
    override fun reset() {
        key = null
    }

    private companion object {
        const val KEY_BYTES = 32
    }
}
