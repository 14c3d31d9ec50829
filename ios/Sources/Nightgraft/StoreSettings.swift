import Foundation
internal import NightgraftGenerated

/// How a store is opened.
public struct StoreSettings: Sendable, Hashable {
    /// The key that encrypts the store; `nil` for a store in plain files. It is chosen when the store is made.
    public let key: StoreKey?
    /// The key that ``key`` takes the place of, if there is one: a store that is still under it is opened with it, and its
    /// key changed. Given both, opening ends with the store under ``key``, wherever an earlier change was interrupted.
    public let formerKey: StoreKey?
    /// The most that the store may take on the disk, in bytes; `nil` for no limit.
    public var quota: Int?
    /// How many grafts are kept; at least the newest, the one in use and the one before that are. Default: 5.
    public var keptGrafts: Int
    /// Whether a store is made if there is none. Default: true.
    public var createsIfMissing: Bool
    /// What every random choice of a new store begins with, for repeatable runs; `nil` for a random one.
    public var seed: UInt64?

    /// A store that nobody reads without its key. `KeychainKey` keeps one on Apple's systems.
    ///
    /// - Parameters:
    ///   - key: The key that encrypts it.
    ///   - formerKey: The key that `key` takes the place of.
    ///   - quota: The most that it may take on the disk, in bytes.
    ///   - keptGrafts: How many grafts are kept.
    ///   - createsIfMissing: Whether a store is made if there is none.
    ///   - seed: What every random choice of a new store begins with.
    public init(
        key: StoreKey, formerKey: StoreKey? = nil, quota: Int? = nil, keptGrafts: Int = 5,
        createsIfMissing: Bool = true, seed: UInt64? = nil
    ) {
        self.init(
            optionalKey: key, formerKey: formerKey, quota: quota, keptGrafts: keptGrafts,
            createsIfMissing: createsIfMissing, seed: seed)
    }

    /// A store that anybody can read who gets at its files. For made-up examples, and for what is public anyway.
    ///
    /// - Parameters:
    ///   - quota: The most that it may take on the disk, in bytes.
    ///   - keptGrafts: How many grafts are kept.
    ///   - createsIfMissing: Whether a store is made if there is none.
    ///   - seed: What every random choice of a new store begins with.
    /// - Returns: The settings.
    public static func unencrypted(
        quota: Int? = nil, keptGrafts: Int = 5, createsIfMissing: Bool = true, seed: UInt64? = nil
    ) -> StoreSettings {
        StoreSettings(
            optionalKey: nil, formerKey: nil, quota: quota, keptGrafts: keptGrafts,
            createsIfMissing: createsIfMissing, seed: seed)
    }

    private init(
        optionalKey: StoreKey?, formerKey: StoreKey?, quota: Int?, keptGrafts: Int, createsIfMissing: Bool,
        seed: UInt64?
    ) {
        key = optionalKey
        self.formerKey = formerKey
        self.quota = quota
        self.keptGrafts = keptGrafts
        self.createsIfMissing = createsIfMissing
        self.seed = seed
    }

    func ffi() throws -> FFI.StoreSettings {
        FFI.StoreSettings(
            key: key?.data,
            formerKey: formerKey?.data,
            quota: try unsigned(quota, "quota"),
            keep: try unsigned(keptGrafts, "keptGrafts"),
            create: createsIfMissing,
            seed: seed)
    }
}

/// The 32 bytes that a store is encrypted with. ``KeychainKey`` keeps them on Apple's systems.
///
/// Printing a key does not show it.
public struct StoreKey: Sendable, Hashable {
    /// The length of a key in bytes.
    public static let byteCount = 32

    let data: Data

    /// A key from its bytes.
    ///
    /// - Parameter bytes: 32 random bytes.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if there are more or fewer.
    public init(_ bytes: some Collection<UInt8>) throws {
        guard bytes.count == Self.byteCount else {
            throw NightgraftError.unsupported(reason: "a key has \(Self.byteCount) bytes, not \(bytes.count)")
        }
        data = Data(bytes)
    }

    private init(checked data: Data) {
        self.data = data
    }

    /// A new key from the system's generator of secrets.
    ///
    /// - Returns: The key.
    public static func random() -> StoreKey {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<byteCount).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return StoreKey(checked: Data(bytes))
    }

    /// The key's bytes, to be kept where only this app finds them.
    ///
    /// - Parameter body: What to do with the bytes.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    public func withBytes<Result>(_ body: (Data) throws -> Result) rethrows -> Result {
        try body(data)
    }
}

extension StoreKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Says that this is a key, and not which.
    public var description: String { "StoreKey(\(Self.byteCount) bytes)" }
    /// Says that this is a key, and not which.
    public var debugDescription: String { description }
    /// Shows nothing of the key to `dump` and to debuggers.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}
