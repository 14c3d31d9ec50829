import Nightgraft

/// A store's key that is gone with this object: tests without a host app have no Keychain.
public final class MemoryKey: KeyStorage {
    private let key = Locked<StoreKey?>(nil)
    private let successor = Locked<MemoryKey?>(nil)

    /// A place without a key.
    public init() {}

    /// Where the key is that takes the place of this one.
    public var next: any KeyStorage {
        successor.withLock { successor in
            let next = successor ?? MemoryKey()
            successor = next
            return next
        }
    }

    /// The key; a random one the first time.
    ///
    /// - Returns: The key.
    public func loadOrCreate() -> StoreKey {
        key.withLock { key in
            let kept = key ?? .random()
            key = kept
            return kept
        }
    }

    /// The key, if there is one.
    ///
    /// - Returns: The key, or `nil`.
    public func load() -> StoreKey? {
        key.withLock { $0 }
    }

    /// Keeps another key in its place.
    ///
    /// - Parameter key: The key.
    public func replace(with key: StoreKey) {
        self.key.withLock { $0 = key }
    }

    /// Forgets the key.
    public func remove() {
        key.withLock { $0 = nil }
    }
}
