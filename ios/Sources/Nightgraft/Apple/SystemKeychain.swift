#if canImport(Security)
import Foundation
// Its constants are not marked as safe to read from any thread, which they are.
@preconcurrency import Security

/// The system's own Keychain.
struct SystemKeychain: Keychain {
    func read(_ item: KeychainItem) -> (KeychainStatus, Data?) {
        var query = identity(of: item)
        query[kSecReturnData as String] = true
        query[kSecMatchLimit as String] = kSecMatchLimitOne
        var found: CFTypeRef?
        let status = SecItemCopyMatching(query as CFDictionary, &found)
        return (KeychainStatus(rawValue: status), found as? Data)
    }

    func add(_ item: KeychainItem, _ secret: Data) -> KeychainStatus {
        let attributes = identity(of: item).merging(contents(secret)) { _, new in new }
        return KeychainStatus(rawValue: SecItemAdd(attributes as CFDictionary, nil))
    }

    func update(_ item: KeychainItem, _ secret: Data) -> KeychainStatus {
        let status = SecItemUpdate(identity(of: item) as CFDictionary, contents(secret) as CFDictionary)
        return KeychainStatus(rawValue: status)
    }

    func delete(_ item: KeychainItem) -> KeychainStatus {
        KeychainStatus(rawValue: SecItemDelete(identity(of: item) as CFDictionary))
    }

    private func identity(of item: KeychainItem) -> [String: Any] {
        var identity: [String: Any] = [
            kSecClass as String: kSecClassGenericPassword,
            kSecAttrService as String: item.service,
            kSecAttrAccount as String: item.name,
            kSecUseDataProtectionKeychain as String: true,
        ]
        if let accessGroup = item.accessGroup {
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
}
#endif
