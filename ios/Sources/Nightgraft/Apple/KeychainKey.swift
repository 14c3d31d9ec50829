#if canImport(Security)
import Foundation
// Its constants are not marked as safe to read from any thread, which they are.
@preconcurrency import Security

/// A store's key in the Keychain.
///
/// It can be read once the device was unlocked after its last start, so that nights can train on a locked device; it
/// stays on this device and is in no backup. Deleting the app does not always delete it: a new store needs a new key only
/// if the old one is removed.
public struct KeychainKey: Sendable {
    private let item: KeychainItem

    /// A key under a name.
    ///
    /// - Parameters:
    ///   - name: The name, if the app has several stores.
    ///   - service: Whose key it is. Default: the app's identifier.
    ///   - accessGroup: The Keychain group that the app shares with its extensions; `nil` for its own.
    public init(
        name: String = "nightgraft", service: String = Bundle.main.bundleIdentifier ?? "nightgraft",
        accessGroup: String? = nil
    ) {
        item = KeychainItem(name: name, service: service, accessGroup: accessGroup)
    }

    /// The key; made of random bytes and kept the first time.
    ///
    /// - Returns: The key.
    /// - Throws: ``NightgraftError/storeLocked(reason:)`` while the device was not unlocked since its start: try again
    ///   later. ``NightgraftError/wrongKey(reason:)`` with the Keychain's status for everything else.
    public func loadOrCreate() throws -> StoreKey {
        try item.loadOrCreateKey()
    }

    /// The key, if there is one.
    ///
    /// - Returns: The key, or `nil`.
    /// - Throws: ``NightgraftError/wrongKey(reason:)``.
    public func load() throws -> StoreKey? {
        try item.loadKey()
    }

    /// Keeps another key in its place.
    ///
    /// While ``AdapterStore/rotateKey(to:)`` runs, and after a crash in it, either of the two keys may be the store's:
    /// keep the new one under another `name` before, and call this when the rotation has returned.
    ///
    /// - Parameter key: The key.
    /// - Throws: ``NightgraftError/wrongKey(reason:)``.
    public func replace(with key: StoreKey) throws {
        try key.withBytes { try item.replace($0) }
    }

    /// Forgets the key. A store that was encrypted with it can never be read again.
    ///
    /// - Throws: ``NightgraftError/wrongKey(reason:)``.
    public func remove() throws {
        try item.remove()
    }
}

/// One generic password of the Keychain.
private struct KeychainItem: SecretStorage {
    let name: String
    let service: String
    let accessGroup: String?

    func read() throws -> Data? {
        var query = identity
        query[kSecReturnData as String] = true
        query[kSecMatchLimit as String] = kSecMatchLimitOne
        var found: CFTypeRef?
        let status = SecItemCopyMatching(query as CFDictionary, &found)
        if status == errSecItemNotFound {
            return nil
        }
        try check(status)
        return found as? Data
    }

    func insert(_ secret: Data) throws -> Bool {
        let status = SecItemAdd(identity.merging(contents(secret)) { _, new in new } as CFDictionary, nil)
        if status == errSecDuplicateItem {
            return false
        }
        try check(status)
        return true
    }

    func replace(_ secret: Data) throws {
        let status = SecItemUpdate(identity as CFDictionary, contents(secret) as CFDictionary)
        guard status == errSecItemNotFound else { return try check(status) }
        _ = try insert(secret)
    }

    func remove() throws {
        let status = SecItemDelete(identity as CFDictionary)
        guard status != errSecItemNotFound else { return }
        try check(status)
    }

    private var identity: [String: Any] {
        var identity: [String: Any] = [
            kSecClass as String: kSecClassGenericPassword,
            kSecAttrService as String: service,
            kSecAttrAccount as String: name,
            kSecUseDataProtectionKeychain as String: true,
        ]
        if let accessGroup {
            identity[kSecAttrAccessGroup as String] = accessGroup
        }
        return identity
    }

    private func contents(_ secret: Data) -> [String: Any] {
        [
            kSecValueData as String: secret,
            kSecAttrAccessible as String: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
        ]
    }

    private func check(_ status: OSStatus) throws {
        guard status != errSecSuccess else { return }
        guard status != errSecInteractionNotAllowed else {
            throw NightgraftError.storeLocked(reason: "the device was not unlocked since its start")
        }
        throw NightgraftError.wrongKey(reason: "the Keychain answers with status \(status)")
    }
}
#endif
