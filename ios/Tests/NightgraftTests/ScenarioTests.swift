import Foundation
import Nightgraft
import XCTest

/// The whole job on a real model, as the other languages do it: the adapters at the end are compared byte for byte.
final class ScenarioTests: TemporaryFolderTestCase {
    func testTheScenario() async throws {
        let scenario = try Scenario.read()
        let settings = try scenario.sessionSettings()
        let notes = try TestFiles.scenario.appendingPathComponent("notes.jsonl")
        let place = folder.appendingPathComponent("store")
        let key = StoreKey.random()
        let storeSettings = StoreSettings(key: key, seed: scenario.storeSeed)

        // The first day: forty examples, and a night that is stopped in the middle.
        var stoppedAt = 0
        do {
            let model = try await BaseModel(contentsOf: TestFiles.smollm2)
            XCTAssertEqual(model.info.architecture, "llama")
            XCTAssert(model.info.hasChatTemplate)
            XCTAssertNil(model.info.notTrainable)
            let store = try await AdapterStore(at: place, settings: storeSettings)
            let report = try await store.add(contentsOf: notes)
            XCTAssertEqual(report.added, 40)
            let session = try await PersonalizationSession(model: model, store: store, settings: settings)
            let seen = Recorder<TrainingProgress>()
            let outcome = try await session.run { progress in
                seen.add(progress)
                if progress.step >= scenario.stopAfterStep { session.stop() }
            }
            XCTAssertEqual(outcome, .paused(.stopped))
            stoppedAt = session.progress.step
            XCTAssertGreaterThanOrEqual(stoppedAt, scenario.stopAfterStep)
            XCTAssertEqual(seen.values.last?.phase, .paused)
            let losses = seen.values.compactMap(\.loss)
            XCTAssertFalse(losses.isEmpty)
            XCTAssert(losses.allSatisfy { $0 > 0 && $0 < 20 }, "\(losses)")
            try await session.close()
            try await store.close()
        }

        // The second: everything opened anew, in slices to the end.
        let model = try await BaseModel(contentsOf: TestFiles.smollm2)
        let store = try await AdapterStore(at: place, settings: storeSettings)
        let session = try await PersonalizationSession(model: model, store: store, settings: settings)
        var report: SessionReport?
        var slices = 0
        while report == nil {
            slices += 1
            XCTAssertLessThan(slices, 1000)
            let slice = session.slice(for: .seconds(5))
            for try await progress in slice where progress.phase == .training {
                XCTAssertGreaterThanOrEqual(progress.step, stoppedAt)
            }
            if case .finished(let finished) = try await slice.outcome {
                report = finished
            }
        }
        let finished = try XCTUnwrap(report)
        let graft = try XCTUnwrap(finished.graft)
        XCTAssertLessThan(try XCTUnwrap(finished.verdict.heldOutAfter), try XCTUnwrap(finished.verdict.heldOutBefore))
        XCTAssert(finished.promoted, finished.verdict.text)
        let current = try await store.currentGraft()
        XCTAssertEqual(current, graft)

        try await chats(model: model, store: store, scenario: scenario, graft: graft)
        try await deletes(scenario.delete, from: store, graft: graft)
        try await exports(graft, model: model, store: store)
        try await goesBackAndForth(graft, store: store)
    }

    private func chats(
        model: BaseModel, store: AdapterStore, scenario: Scenario, graft: Graft.ID
    ) async throws {
        let generator = try await Generator(model: model)
        let options = ChatOptions(maximumTokens: scenario.maxTokens)
        let before = try await generator.answer(to: scenario.question, options: options)
        let used = try await generator.useCurrentGraft(of: store)
        XCTAssertEqual(used, graft)
        let after = try await generator.answer(to: scenario.question, options: options)
        XCTAssertNotEqual(before.text, after.text)
        XCTAssertFalse(after.text.isEmpty)
        try await generator.useBase()
        let again = try await generator.answer(to: scenario.question, options: options)
        XCTAssertEqual(again.text, before.text)
    }

    private func exports(_ graft: Graft.ID, model: BaseModel, store: AdapterStore) async throws {
        let here = folder.appendingPathComponent("peft")
        try await store.export(graft, as: .peft, model: model, to: here)
        let weights = here.appendingPathComponent("adapter_model.safetensors")
        XCTAssertGreaterThan(try Data(contentsOf: weights).count, 10_000)
        if let out = TestFiles.scenarioOut?.appendingPathComponent("swift") {
            try? FileManager.default.removeItem(at: out)
            try await store.export(graft, as: .peft, model: model, to: out)
        }
    }

    private func deletes(_ example: StoredExample.ID, from store: AdapterStore, graft: Graft.ID) async throws {
        let report = try await store.delete([example])
        XCTAssertEqual(report.deleted, [example])
        XCTAssertEqual(report.markedGrafts, [graft])
        let left = try await store.examples()
        XCTAssertEqual(left.count, 39)
        XCTAssertFalse(left.contains { $0.id == example })
        let marked = try await store.grafts().first { $0.id == graft }
        XCTAssertEqual(try XCTUnwrap(marked).sawDeleted, [example])
        let damage = try await store.verify()
        XCTAssertEqual(damage, [])
    }

    private func goesBackAndForth(_ graft: Graft.ID, store: AdapterStore) async throws {
        let base = try await store.rollBack()
        XCTAssertNil(base)
        try await store.promote(graft)
        let current = try await store.currentGraft()
        XCTAssertEqual(current, graft)
    }
}

/// `scenario.json`: what all languages do with the same numbers.
private struct Scenario: Decodable {
    struct Settings: Decodable {
        let rank: Int
        let alpha: Float
        let layers: String
        let learningRate: Double
        let epochs: Int
        let context: Int
        let batchTokens: Int
        let heldOut: Float
        let checkpointEvery: Int
        let seed: UInt64
        let threads: Int
    }

    let storeSeed: UInt64
    let settings: Settings
    let stopAfterStep: Int
    let question: String
    let maxTokens: Int
    let delete: StoredExample.ID

    static func read() throws -> Scenario {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let file = try TestFiles.scenario.appendingPathComponent("scenario.json")
        return try decoder.decode(Scenario.self, from: try Data(contentsOf: file))
    }

    /// The settings as this language writes them.
    func sessionSettings() throws -> SessionSettings {
        let last = try XCTUnwrap(settings.layers.hasPrefix("last:") ? Int(settings.layers.dropFirst(5)) : nil)
        return SessionSettings(
            rank: settings.rank, alpha: settings.alpha, layers: .last(last), learningRate: settings.learningRate,
            epochs: settings.epochs, context: settings.context, batchTokens: settings.batchTokens,
            heldOut: settings.heldOut, checkpointInterval: settings.checkpointEvery, seed: settings.seed,
            threads: settings.threads)
    }
}
