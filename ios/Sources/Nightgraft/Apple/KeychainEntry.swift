import Foundation

/// One generic password of the Keychain.
struct KeychainEntry: SecretStorage {
    let item: KeychainItem
    let keychain: any Keychain

    func read() throws -> Data? {
        let (status, secret) = keychain.read(item)
        guard status != .notFound else { return nil }
        try status.check()
        return secret
    }

    func insert(_ secret: Data) throws -> Bool {
        let status = keychain.add(item, secret)
        guard status != .duplicate else { return false }
        try status.check()
        return true
    }

    func replace(_ secret: Data) throws {
        let status = keychain.update(item, secret)
        guard status == .notFound else { return try status.check() }
        _ = try insert(secret)
    }

    func remove() throws {
        let status = keychain.delete(item)
        guard status != .notFound else { return }
        try status.check()
    }
}

/// The system's Keychain, in its own terms.
protocol Keychain: Sendable {
    func read(_ item: KeychainItem) -> (KeychainStatus, Data?)
    /// Keeps a secret that is not there yet.
    func add(_ item: KeychainItem, _ secret: Data) -> KeychainStatus
    /// Changes a secret that is there.
    func update(_ item: KeychainItem, _ secret: Data) -> KeychainStatus
    func delete(_ item: KeychainItem) -> KeychainStatus
}

/// What tells one password of the Keychain from another.
struct KeychainItem: Sendable, Hashable {
    let name: String
    let service: String
    let accessGroup: String?
}

/// An `OSStatus`, with the numbers that the library knows.
struct KeychainStatus: RawRepresentable, Sendable, Hashable {
    static let success = KeychainStatus(rawValue: 0)
    static let unimplemented = KeychainStatus(rawValue: -4)
    static let duplicate = KeychainStatus(rawValue: -25299)
    static let notFound = KeychainStatus(rawValue: -25300)
    static let interactionNotAllowed = KeychainStatus(rawValue: -25308)

    let rawValue: Int32

    func check() throws {
        switch self {
        case .success:
            return
        case .interactionNotAllowed:
            throw NightgraftError.storeLocked(reason: "the device was not unlocked since its start")
        case .unimplemented:
            throw NightgraftError.unsupported(reason: "this system has no Keychain")
        default:
            throw NightgraftError.wrongKey(reason: "the Keychain answers with status \(rawValue)")
        }
    }
}

#if !canImport(Security)
/// This system has no Keychain.
struct SystemKeychain: Keychain {
    func read(_ item: KeychainItem) -> (KeychainStatus, Data?) { (.unimplemented, nil) }
    func add(_ item: KeychainItem, _ secret: Data) -> KeychainStatus { .unimplemented }
    func update(_ item: KeychainItem, _ secret: Data) -> KeychainStatus { .unimplemented }
    func delete(_ item: KeychainItem) -> KeychainStatus { .unimplemented }
}
#endif
