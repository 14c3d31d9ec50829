import Foundation

/// A place for one secret, as the Keychain is one.
protocol SecretStorage: Sendable {
    /// The secret; nil if there is none.
    func read() throws -> Data?
    /// Keeps a secret where there is none. Returns false, and changes nothing, if there is one.
    func insert(_ secret: Data) throws -> Bool
    /// Puts a secret in the place of the one that is there, or where there is none.
    func replace(_ secret: Data) throws
    /// Removes it, if there is one.
    func remove() throws
}

extension SecretStorage {
    /// The key that is kept; a new one the first time. Two processes that do this at once get the same.
    func loadOrCreateKey() throws -> StoreKey {
        if let key = try loadKey() {
            return key
        }
        let new = StoreKey.random()
        if try new.withBytes({ try insert($0) }) {
            return new
        }
        // Somebody else was quicker: an app and its extension may start together.
        guard let key = try loadKey() else {
            throw NightgraftError.wrongKey(reason: "the key was there and is gone again")
        }
        return key
    }

    /// The key that is kept; nil if there is none.
    func loadKey() throws -> StoreKey? {
        guard let secret = try read() else { return nil }
        do {
            return try StoreKey(secret)
        } catch {
            // A new key would not open the store; the app must decide whether to begin anew.
            throw NightgraftError.wrongKey(reason: "what is kept as the key has \(secret.count) bytes")
        }
    }
}
