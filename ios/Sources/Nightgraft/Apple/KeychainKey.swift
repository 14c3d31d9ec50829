import Foundation

/// A store's key in the Keychain.
///
/// It can be read once the device was unlocked after its last start, so that nights can train on a locked device; it
/// stays on this device and is in no backup. Deleting the app does not always delete it: a new store needs a new key only
/// if the old one is removed.
///
/// An app and its extensions share a key by giving the same `accessGroup`, an entitlement of both. Without one each has
/// its own key, and what one of them makes the other cannot open.
public struct KeychainKey: KeyStorage {
    let entry: KeychainEntry

    /// A key under a name.
    ///
    /// - Parameters:
    ///   - name: The name, if the app has several stores.
    ///   - service: Whose key it is. The default is the same in an app and its extensions.
    ///   - accessGroup: The Keychain group that the app shares with its extensions; `nil` for its own.
    public init(name: String = "nightgraft", service: String = "org.nightgraft.store", accessGroup: String? = nil) {
        let item = KeychainItem(name: name, service: service, accessGroup: accessGroup)
        self.init(entry: KeychainEntry(item: item, keychain: SystemKeychain()))
    }

    init(entry: KeychainEntry) {
        self.entry = entry
    }

    /// The place of the key that takes the place of this one: its name with `.next` behind it.
    public var next: any KeyStorage {
        let item = KeychainItem(
            name: entry.item.name + ".next", service: entry.item.service, accessGroup: entry.item.accessGroup)
        return KeychainKey(entry: KeychainEntry(item: item, keychain: entry.keychain))
    }

    /// The key; made of random bytes and kept the first time.
    ///
    /// - Returns: The key.
    /// - Throws: ``NightgraftError/storeLocked(reason:)`` while the device was not unlocked since its start: try again
    ///   later. ``NightgraftError/unsupported(reason:)`` where there is no Keychain. ``NightgraftError/wrongKey(reason:)``
    ///   with the Keychain's status for everything else.
    public func loadOrCreate() throws -> StoreKey {
        try entry.loadOrCreateKey()
    }

    /// The key, if there is one.
    ///
    /// - Returns: The key, or `nil`.
    /// - Throws: As ``loadOrCreate()``.
    public func load() throws -> StoreKey? {
        try entry.loadKey()
    }

    /// Keeps another key in its place. ``KeyStorage/rotate(_:)`` does so when it has changed the store's.
    ///
    /// - Parameter key: The key.
    /// - Throws: As ``loadOrCreate()``.
    public func replace(with key: StoreKey) throws {
        try key.withBytes { try entry.replace($0) }
    }

    /// Forgets the key. A store that was encrypted with it can never be read again.
    ///
    /// - Throws: As ``loadOrCreate()``.
    public func remove() throws {
        try entry.remove()
    }
}
