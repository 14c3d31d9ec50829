import Foundation

/// Where an app keeps a store's key: ``KeychainKey``, and `MemoryKey` of `NightgraftTesting`.
public protocol KeyStorage: Sendable {
    /// The place of the key that takes the place of this one.
    var next: any KeyStorage { get }

    /// The key; made of random bytes and kept the first time.
    ///
    /// - Returns: The key.
    /// - Throws: ``NightgraftError/storeLocked(reason:)`` if it cannot be read yet, ``NightgraftError/wrongKey(reason:)`` if
    ///   it cannot be read at all.
    func loadOrCreate() throws -> StoreKey

    /// The key, if there is one.
    ///
    /// - Returns: The key, or `nil`.
    /// - Throws: As ``loadOrCreate()``.
    func load() throws -> StoreKey?

    /// Keeps another key in its place.
    ///
    /// - Parameter key: The key.
    /// - Throws: As ``loadOrCreate()``.
    func replace(with key: StoreKey) throws

    /// Forgets the key. A store that was encrypted with it can never be read again.
    ///
    /// - Throws: As ``loadOrCreate()``.
    func remove() throws
}

extension KeyStorage {
    /// Gives a store a new key, and keeps it here in the place of the one that is here.
    ///
    /// A crash in between loses nothing: ``AdapterStore/init(at:keyIn:)`` opens the store at every point, and ends with the new
    /// key. After an error, call this again.
    ///
    /// - Parameter store: The store whose key is kept here.
    /// - Throws: ``NightgraftError``.
    public func rotate(_ store: AdapterStore) async throws {
        let key = try next.loadOrCreate()
        try await store.rotateKey(to: key)
        try settle(key)
    }

    /// The new key is the store's now.
    func settle(_ key: StoreKey) throws {
        try replace(with: key)
        try next.remove()
    }
}

extension AdapterStore {
    /// Opens an encrypted store, or makes one, under a key that is kept somewhere, and finishes a change of the key that was
    /// interrupted.
    ///
    /// - Parameters:
    ///   - folder: The store's folder, on a local disk.
    ///   - keys: Where the key is, or is kept from now on.
    /// - Throws: As the other initializers, and what `keys` throws.
    public convenience init(at folder: URL, keyIn keys: any KeyStorage) async throws {
        guard let key = try keys.next.load() else {
            try await self.init(at: folder, key: keys.loadOrCreate())
            return
        }
        try await self.init(at: folder, settings: StoreSettings(key: key, formerKey: keys.load()))
        try keys.settle(key)
    }
}
