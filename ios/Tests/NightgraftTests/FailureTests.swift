import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

final class FailureTests: TemporaryFolderTestCase {
    func testAModelThatIsNone() async throws {
        await expect({ if case .invalidModel = $0 { true } else { false } }) {
            try await BaseModel(contentsOf: self.folder.appendingPathComponent("missing.gguf"))
        }
        let damaged = folder.appendingPathComponent("damaged.gguf")
        let good = try Data(contentsOf: TinyModel.url)
        for (name, bytes) in [
            ("empty", Data()), ("cut short", good.prefix(good.count / 2)),
            ("no model", Data(repeating: 7, count: 5000)),
        ] {
            try Data(bytes).write(to: damaged)
            await expect({ if case .invalidModel = $0 { true } else { false } }) {
                try await BaseModel(contentsOf: damaged)
            }
            XCTAssert(FileManager.default.fileExists(atPath: damaged.path), name)
        }
    }

    func testAWrongKeyAndNoKey() async throws {
        let place = folder.appendingPathComponent("store")
        let key = StoreKey.random()
        do {
            let store = try await AdapterStore(at: place, key: key)
            try await store.add(TinyModel.examples(3))
            try await store.close()
        }
        await expect({ if case .wrongKey = $0 { true } else { false } }) {
            try await AdapterStore(at: place, key: .random())
        }
        await expect({ if case .wrongKey = $0 { true } else { false } }) {
            try await AdapterStore(at: place, settings: .unencrypted())
        }
        let store = try await AdapterStore(at: place, key: key)
        let examples = try await store.examples()
        XCTAssertEqual(examples.count, 3)

        let new = StoreKey.random()
        try await store.rotateKey(to: new)
        try await store.close()
        await expect({ if case .wrongKey = $0 { true } else { false } }) {
            try await AdapterStore(at: place, key: key)
        }
        let again = try await AdapterStore(at: place, key: new)
        let kept = try await again.examples()
        XCTAssertEqual(kept.map(\.json), examples.map(\.json))
    }

    func testAStoreIsOpenOnce() async throws {
        let place = folder.appendingPathComponent("store")
        let store = try await AdapterStore(at: place, settings: .unencrypted())
        await expect({ if case .storeLocked = $0 { true } else { false } }) {
            try await AdapterStore(at: place, settings: .unencrypted())
        }
        try await store.close()
        let second = try await AdapterStore(at: place, settings: .unencrypted())
        try await second.add(TinyModel.examples(1))
    }

    func testDroppingAStoreClosesIt() async throws {
        let place = folder.appendingPathComponent("store")
        for _ in 0..<5 {
            let store = try await AdapterStore(at: place, settings: .unencrypted())
            try await store.add(TinyModel.examples(1))
        }
    }

    func testAClosedStoreSaysSo() async throws {
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        try await store.close()
        await expect({ if case .cancelled = $0 { true } else { false } }) { try await store.examples() }
    }

    func testADamagedStore() async throws {
        let place = folder.appendingPathComponent("store")
        let key = StoreKey.random()
        do {
            let store = try await AdapterStore(at: place, key: key)
            try await store.add(TinyModel.examples(20))
            try await store.close()
        }
        let journal = try XCTUnwrap(try largestFile(in: place))
        var bytes = try Data(contentsOf: journal)
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: journal)
        await expect({ if case .corrupted = $0 { true } else { false } }) {
            let store = try await AdapterStore(at: place, key: key)
            _ = try await store.examples()
        }
    }

    private func largestFile(in folder: URL) throws -> URL? {
        let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
        var largest: (url: URL, size: Int)?
        while let file = files?.nextObject() as? URL {
            let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
            guard attributes[.type] as? FileAttributeType == .typeRegular else { continue }
            let size = attributes[.size] as? Int ?? 0
            if size > largest?.size ?? 0 {
                largest = (file, size)
            }
        }
        return largest?.url
    }

    func testAMissingStoreIsNotMadeUnlessAskedFor() async {
        do {
            _ = try await AdapterStore(
                at: folder.appendingPathComponent("none"), settings: .unencrypted(createsIfMissing: false))
            XCTFail("nothing was thrown")
        } catch {
            XCTAssert(error is NightgraftError, "\(error)")
        }
        XCTAssertFalse(FileManager.default.fileExists(atPath: folder.appendingPathComponent("none").path))
    }

    func testSettingsThatMakeNoSense() async throws {
        let model = try await TinyModel.open()
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        for settings in [SessionSettings(rank: 0), SessionSettings(rank: -3), SessionSettings(learningRate: .nan)] {
            await expect({ if case .unsupported = $0 { true } else { false } }) {
                try await PersonalizationSession(model: model, store: store, settings: settings)
            }
        }
        await expect({ if case .unsupported = $0 { true } else { false } }) {
            try await PersonalizationSession(
                model: model, store: store, settings: SessionSettings(targets: AdapterTargets(rawValue: "elbow")))
        }
    }

    func testABudgetThatIsTooSmall() async throws {
        let model = try await BaseModel(contentsOf: TestFiles.smollm2)
        let plan = try await Planner(model: model).memory(for: SessionSettings(memoryLimit: 1 << 20))
        XCTAssertFalse(plan.fits)
        XCTAssertGreaterThan(plan.smallest, 1 << 20)
        XCTAssertGreaterThanOrEqual(plan.needed, plan.smallest)
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        try await store.add(TinyModel.examples(20))
        await expect({
            guard case .outOfMemoryBudget(let needed, let available) = $0 else { return false }
            return needed > available && available == 1 << 20
        }) {
            let session = try await PersonalizationSession(
                model: model, store: store, settings: SessionSettings(memoryLimit: 1 << 20))
            _ = try await session.run(for: .seconds(5))
        }
        let roomy = try await Planner(model: model).memory()
        XCTAssert(roomy.fits)
    }

    func testErrorsHoldNoTextOfTheUser() async throws {
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        let secret = "the safe opens with 4711"
        do {
            _ = try await store.add([.chat([Message(role: .user, content: secret)])])
        } catch {
            XCTAssertFalse("\(error)".contains("4711"), "\(error)")
        }
        let file = folder.appendingPathComponent("bad.jsonl")
        try Data("{\"messages\": \"\(secret)\"}\n".utf8).write(to: file)
        do {
            _ = try await store.add(contentsOf: file)
            XCTFail("nothing was thrown")
        } catch {
            XCTAssertFalse("\(error)".contains("4711"), "\(error)")
        }
        try Data("{\"messages\": \"\(secret)\"}\n{\"text\": \"A good line.\"}\n".utf8).write(to: file)
        let report = try await store.add(contentsOf: file, skippingBadLines: true)
        XCTAssertEqual(report.skipped, 1)
        XCTAssertEqual(report.added, 1)
    }
}
