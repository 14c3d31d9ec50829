import Foundation
import XCTest

@testable import Nightgraft

final class KeyTests: XCTestCase {
    func testAKeyHas32BytesAndShowsNone() throws {
        let bytes = (0..<32).map { UInt8($0 + 100) }
        let key = try StoreKey(bytes)
        XCTAssertEqual(key.withBytes { Array($0) }, bytes)
        XCTAssertThrowsError(try StoreKey(bytes.dropLast()))
        var dumped = ""
        dump(key, to: &dumped)
        for shown in ["\(key)", String(reflecting: key), dumped] {
            XCTAssertFalse(shown.contains("100") || shown.contains("131"), shown)
        }
    }

    func testRandomKeysDiffer() {
        let keys = Set((0..<100).map { _ in StoreKey.random() })
        XCTAssertEqual(keys.count, 100)
    }

    func testTheKeyIsMadeOnceAndKept() throws {
        let storage = TestStorage()
        let key = try storage.loadOrCreateKey()
        XCTAssertEqual(try storage.loadOrCreateKey(), key)
        XCTAssertEqual(try storage.loadKey(), key)
        storage.remove()
        XCTAssertNil(try storage.loadKey())
        XCTAssertNotEqual(try storage.loadOrCreateKey(), key)
    }

    func testTwoProcessesGetTheSameKey() throws {
        let other = StoreKey.random()
        let storage = TestStorage()
        storage.beforeInsert = { storage in other.withBytes { storage.secret = $0 } }
        XCTAssertEqual(try storage.loadOrCreateKey(), other)
    }

    /// In an extension `Bundle.main` is the extension: what names the key must not come from there.
    func testAnAppAndItsExtensionGetTheSameKey() throws {
        let keychain = TestKeychain()
        let shared = KeychainKey(accessGroup: "TEAM.org.example")
        XCTAssertEqual(shared.entry.item.service, "org.nightgraft.store")
        let (app, widget) = (shared.kept(in: keychain), shared.kept(in: keychain))
        let key = try app.loadOrCreate()
        XCTAssertEqual(try widget.loadOrCreate(), key)
        XCTAssertNil(try KeychainKey().kept(in: keychain).load())

        let new = StoreKey.random()
        try widget.replace(with: new)
        XCTAssertEqual(try app.load(), new)
        try app.remove()
        try app.remove()
        XCTAssertNil(try widget.load())
    }

    func testTheKeychainsAnswersBecomeErrors() throws {
        let keychain = TestKeychain()
        let key = KeychainKey().kept(in: keychain)
        let isExpected: [(Int32, (any Error) -> Bool)] = [
            (-25308, { if case NightgraftError.storeLocked = $0 { true } else { false } }),
            (-4, { if case NightgraftError.unsupported = $0 { true } else { false } }),
            (-34018, { if case NightgraftError.wrongKey = $0 { "\($0)".contains("-34018") } else { false } }),
        ]
        for (status, isExpected) in isExpected {
            keychain.fail(with: status)
            let calls: [() throws -> Void] = [
                { _ = try key.load() }, { _ = try key.loadOrCreate() }, { try key.replace(with: .random()) },
                { try key.remove() },
            ]
            for call in calls {
                XCTAssertThrowsError(try call()) { XCTAssert(isExpected($0), "\($0)") }
            }
        }
        keychain.fail(with: nil)
        XCTAssertNil(try key.load())
    }

    func testWhatIsNoKeyIsNotReplaced() throws {
        let storage = TestStorage()
        storage.secret = Data(count: 31)
        XCTAssertThrowsError(try storage.loadOrCreateKey()) { error in
            guard case NightgraftError.wrongKey = error else { return XCTFail("\(error)") }
        }
        XCTAssertEqual(storage.secret?.count, 31)
    }
}

/// A place for a secret that a test watches.
private final class TestStorage: SecretStorage, @unchecked Sendable {
    var secret: Data?
    var beforeInsert: ((TestStorage) -> Void)?

    func read() -> Data? {
        secret
    }

    func insert(_ new: Data) -> Bool {
        beforeInsert?(self)
        guard secret == nil else { return false }
        secret = new
        return true
    }

    func replace(_ new: Data) {
        secret = new
    }

    func remove() {
        secret = nil
    }
}

extension KeychainKey {
    fileprivate func kept(in keychain: TestKeychain) -> KeychainKey {
        KeychainKey(entry: KeychainEntry(item: entry.item, keychain: keychain))
    }
}

/// A Keychain as a test plays it.
private final class TestKeychain: Keychain {
    private struct State {
        var secrets: [KeychainItem: Data] = [:]
        var failure: KeychainStatus?
    }

    private let state = Locked(State())

    /// From now on every call ends with this; with nil they work again.
    func fail(with status: Int32?) {
        state.withLock { $0.failure = status.map(KeychainStatus.init) }
    }

    func read(_ item: KeychainItem) -> (KeychainStatus, Data?) {
        state.withLock { state in
            let found = state.secrets[item]
            return (state.failure ?? (found == nil ? .notFound : .success), found)
        }
    }

    func add(_ item: KeychainItem, _ secret: Data) -> KeychainStatus {
        keep(secret, as: item) { $0 == nil ? .success : .duplicate }
    }

    func update(_ item: KeychainItem, _ secret: Data) -> KeychainStatus {
        keep(secret, as: item) { $0 == nil ? .notFound : .success }
    }

    func delete(_ item: KeychainItem) -> KeychainStatus {
        keep(nil, as: item) { $0 == nil ? .notFound : .success }
    }

    private func keep(_ secret: Data?, as item: KeychainItem, answer: (Data?) -> KeychainStatus) -> KeychainStatus {
        state.withLock { state in
            let status = state.failure ?? answer(state.secrets[item])
            if status == .success {
                state.secrets[item] = secret
            }
            return status
        }
    }
}
