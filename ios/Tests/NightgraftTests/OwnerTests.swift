import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

/// What the owner of the data may ask for.
final class OwnerTests: TemporaryFolderTestCase {
    private var place: URL { folder.appendingPathComponent("store") }

    /// The files below the store's folder.
    private func listing() throws -> Set<String> {
        let paths = FileManager.default.enumerator(atPath: place.path)?.allObjects as? [String] ?? []
        return Set(
            paths.filter {
                var isFolder: ObjCBool = false
                let path = place.appendingPathComponent($0).path
                return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
            })
    }

    func testWhatIsForgottenIsInNoFileAndInNoGraftAndWhatIsLeftGoesOut() async throws {
        let tiny = try await TinySession(in: folder, steps: 2)
        _ = try await tiny.session.run()
        try await tiny.store.promote(1, ignoringVerdict: true)
        let before = try listing()
        XCTAssert(before.contains("grafts/00000001.ngs"), "\(before)")
        // A quarter is held out at most, so that one of these was learned.
        let report = try await tiny.store.forget(1...6)
        XCTAssertEqual(report.deleted, Array(1...6))
        XCTAssertEqual(report.deletedGrafts, [1])
        XCTAssertNil(report.currentGraft)
        XCTAssertEqual(before.subtracting(try listing()), ["grafts/00000001.ngs"])

        let out = folder.appendingPathComponent("mine.jsonl")
        let count = try await tiny.store.exportExamples(to: out)
        XCTAssertEqual(count, 6)
        let lines = try await tiny.store.examples().map(\.json)
        XCTAssertEqual(try String(contentsOf: out, encoding: .utf8), lines.map { $0 + "\n" }.joined())
        await expect({ if case .unsupported = $0 { true } else { false } }) {
            try await tiny.store.exportExamples(to: self.place.appendingPathComponent("mine.jsonl"))
        }
    }

    func testADestroyedStoreLeavesNothingAndNothingElseIsTouched() async throws {
        let store = try await AdapterStore(at: place, key: .random())
        try await store.add(TinyModel.examples(3))
        await expect({ if case .storeLocked = $0 { true } else { false } }) {
            try await AdapterStore.destroy(at: self.place)
        }
        try await store.close()
        let before = try listing()
        let report = try await AdapterStore.destroy(at: place)
        XCTAssertEqual(Set(report.removed), before)
        XCTAssertEqual(report.left, [])
        XCTAssertFalse(FileManager.default.fileExists(atPath: place.path))
        try Data("years of work".utf8).write(to: folder.appendingPathComponent("thesis.tex"))
        await expect({ if case .unsupported = $0 { true } else { false } }) {
            try await AdapterStore.destroy(at: self.folder)
        }
        XCTAssert(FileManager.default.fileExists(atPath: folder.appendingPathComponent("thesis.tex").path))
    }

    func testAChangeOfTheKeyThatWasInterruptedIsFinishedByOpeningWithBothKeys() async throws {
        let (old, new) = (StoreKey.random(), StoreKey.random())
        let store = try await AdapterStore(at: place, key: old)
        try await store.add(TinyModel.examples(3))
        try await store.close()
        for _ in 0..<2 {
            let both = try await AdapterStore(at: place, settings: StoreSettings(key: new, formerKey: old))
            let examples = try await both.examples()
            XCTAssertEqual(examples.count, 3)
            try await both.close()
        }
        await expect({ if case .wrongKey = $0 { true } else { false } }) {
            try await AdapterStore(at: self.place, key: old)
        }
    }

    func testAChangeOfTheKeyThatIsInterruptedAnywhereIsFinishedByTheNextOpening() async throws {
        let keys = MemoryKey()
        // It makes three calls: a new key, that in the place of the old one, none that is on its way.
        for calls in 0...3 {
            let before = keys.loadOrCreate()
            do {
                let store = try await AdapterStore(at: place, keyIn: keys)
                try await store.add(TinyModel.examples(3))
                let files = try listing()
                try await InterruptedKey(keys, after: calls).rotate(store)
                XCTAssertEqual(calls, 3)
                XCTAssertEqual(try listing(), files)
                try await store.close()
            } catch {
                XCTAssertEqual(error as? AppError, AppError(number: calls))
            }
            let again = try await AdapterStore(at: place, keyIn: keys)
            let examples = try await again.examples()
            XCTAssertEqual(examples.count, 3)
            try await again.close()
            XCTAssertNil(try keys.next.load())
            guard calls > 0 else { continue }
            XCTAssertNotEqual(keys.load(), before)
            await expect({ if case .wrongKey = $0 { true } else { false } }) {
                try await AdapterStore(at: self.place, key: before)
            }
        }
    }

    func testADownloadIsTheModelOfTheCatalogueOrIsToBeFetchedAgain() async throws {
        let published = try XCTUnwrap(ModelCatalog.model(named: "smollm2-135m"))
        let model = try TestFiles.smollm2
        let read = Recorder<Int>()
        try await published.verify(model) { read.add($0) }
        XCTAssertEqual(read.values.last, published.bytes)
        XCTAssertEqual(read.values, read.values.sorted())
        XCTAssertEqual(published.url.scheme, "https")
        XCTAssertEqual(published.url.lastPathComponent, published.fileName)
        XCTAssertNil(ModelCatalog.model(named: "smollm3"))

        let cut = folder.appendingPathComponent("cut.gguf")
        try Data(count: 1000).write(to: cut)
        await expect({ if case .invalidModel(let reason) = $0 { reason.hasSuffix("fetch it again") } else { false } }) {
            try await published.verify(cut)
        }
        do {
            try await published.verify(model) { _ in throw AppError(number: 7) }
            XCTFail("nothing was thrown")
        } catch {
            XCTAssertEqual(error as? AppError, AppError(number: 7))
        }
        let download = folder.appendingPathComponent("download")
        let place = folder.appendingPathComponent("model.gguf")
        await expect({ if case .invalidModel = $0 { true } else { false } }) {
            try await published.install(cut, at: place)
        }
        XCTAssertFalse(FileManager.default.fileExists(atPath: cut.path))
        try FileManager.default.copyItem(at: model, to: download)
        try await published.install(download, at: place)
        XCTAssertFalse(FileManager.default.fileExists(atPath: download.path))
        try await published.verify(place)

        let task = Task { try await published.verify(model) }
        task.cancel()
        do {
            try await task.value
            XCTFail("nothing was thrown")
        } catch {
            XCTAssert(error is CancellationError, "\(error)")
        }
    }
}

/// A place for keys in an app that is killed after so many calls of it.
private final class InterruptedKey: KeyStorage {
    private let keys: any KeyStorage
    private let calls: Int
    private let made: Recorder<Bool>

    init(_ keys: any KeyStorage, after calls: Int, made: Recorder<Bool> = Recorder()) {
        self.keys = keys
        self.calls = calls
        self.made = made
    }

    var next: any KeyStorage {
        InterruptedKey(keys.next, after: calls, made: made)
    }

    func loadOrCreate() throws -> StoreKey {
        try goOn()
        return try keys.loadOrCreate()
    }

    func load() throws -> StoreKey? {
        try goOn()
        return try keys.load()
    }

    func replace(with key: StoreKey) throws {
        try goOn()
        try keys.replace(with: key)
    }

    func remove() throws {
        try goOn()
        try keys.remove()
    }

    private func goOn() throws {
        guard made.values.count < calls else { throw AppError(number: calls) }
        made.add(true)
    }
}
