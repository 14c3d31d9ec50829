import Foundation
import Nightgraft
import XCTest

/// The whole job on a real model, as the other languages do it: the adapters at the end are compared byte for byte.
final class ScenarioTests: FolderCase {
    func testTheScenario() async throws {
        let scenario = try Scenario.read()
        let notes = try Places.scenario.appendingPathComponent("notes.jsonl")
        let place = folder.appendingPathComponent("store")
        let key = StoreKey.random()
        let storeSettings = StoreSettings(key: key, seed: scenario.storeSeed)

        // The first day: forty examples, and a night that is stopped in the middle.
        var stoppedAt = 0
        do {
            let model = try await BaseModel(contentsOf: Places.smollm2)
            XCTAssertEqual(model.info.architecture, "llama")
            XCTAssert(model.info.hasChatTemplate)
            XCTAssertNil(model.info.notTrainable)
            let store = try await AdapterStore(at: place, settings: storeSettings)
            let report = try await store.add(contentsOf: notes)
            XCTAssertEqual(report.added, 40)
            let session = try await PersonalizationSession(model: model, store: store, settings: scenario.settings)
            let seen = Collected<TrainingProgress>()
            let outcome = try await session.run { progress in
                seen.add(progress)
                if progress.step >= 2 { session.stop() }
            }
            XCTAssertEqual(outcome, .paused(.stopped))
            stoppedAt = session.progress.step
            XCTAssertGreaterThanOrEqual(stoppedAt, 2)
            XCTAssertEqual(seen.values.last?.phase, .paused)
            let losses = seen.values.compactMap(\.loss)
            XCTAssertFalse(losses.isEmpty)
            XCTAssert(losses.allSatisfy { $0 > 0 && $0 < 20 }, "\(losses)")
            try await session.close()
            try await store.close()
        }

        // The second: everything opened anew, in slices to the end.
        let model = try await BaseModel(contentsOf: Places.smollm2)
        let store = try await AdapterStore(at: place, settings: storeSettings)
        let session = try await PersonalizationSession(model: model, store: store, settings: scenario.settings)
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
        if !finished.promoted {
            try await store.promote(graft, ignoringVerdict: true)
        }
        let current = try await store.currentGraft()
        XCTAssertEqual(current, graft)

        try await chats(model: model, store: store, scenario: scenario, graft: graft)
        try await exports(graft, model: model, store: store)
        try await deletes(from: store, graft: graft)
    }

    private func chats(
        model: BaseModel, store: AdapterStore, scenario: Scenario, graft: Graft.ID
    ) async throws {
        let generator = try await Generator(model: model)
        let options = ChatOptions(maximumTokens: 40)
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
        if let out = Places.scenarioOut?.appendingPathComponent("swift") {
            try? FileManager.default.removeItem(at: out)
            try await store.export(graft, as: .peft, model: model, to: out)
        }
    }

    private func deletes(from store: AdapterStore, graft: Graft.ID) async throws {
        let examples = try await store.examples()
        XCTAssertEqual(examples.count, 40)
        // Those that were held out were not learned from; all but one are deleted, so that most were.
        let report = try await store.delete(examples.dropLast().map(\.id))
        XCTAssertEqual(report.deleted.count, 39)
        XCTAssertEqual(report.markedGrafts, [graft])
        let left = try await store.examples()
        XCTAssertEqual(left.map(\.id), [try XCTUnwrap(examples.last).id])
        let marked = try await store.grafts().first { $0.id == graft }
        XCTAssertFalse(try XCTUnwrap(marked).sawDeleted.isEmpty)
        let damage = try await store.verify()
        XCTAssertEqual(damage, [])
    }
}

/// `scenario.json`: what all languages do with the same numbers.
private struct Scenario: Decodable {
    let settings: SessionSettings
    let storeSeed: UInt64
    let question: String

    static func read() throws -> Scenario {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(
            Scenario.self, from: try Data(contentsOf: Places.scenario.appendingPathComponent("scenario.json")))
    }

    private struct Session: Decodable {
        var rank: Int?
        var alpha: Float?
        var learningRate: Double?
        var epochs: Int?
        var steps: Int?
        var context: Int?
        var batchTokens: Int?
        var heldOut: Float?
        var checkpointEvery: Int?
        var seed: UInt64?
        var threads: Int?
    }

    private enum CodingKeys: String, CodingKey {
        case session, storeSeed, question
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        storeSeed = try values.decode(UInt64.self, forKey: .storeSeed)
        question = try values.decode(String.self, forKey: .question)
        let session = try values.decode(Session.self, forKey: .session)
        var settings = SessionSettings()
        settings.rank = session.rank ?? settings.rank
        settings.alpha = session.alpha ?? settings.alpha
        settings.learningRate = session.learningRate ?? settings.learningRate
        settings.epochs = session.epochs ?? settings.epochs
        settings.steps = session.steps
        settings.context = session.context ?? settings.context
        settings.batchTokens = session.batchTokens ?? settings.batchTokens
        settings.heldOut = session.heldOut ?? settings.heldOut
        settings.checkpointInterval = session.checkpointEvery ?? settings.checkpointInterval
        settings.seed = session.seed ?? settings.seed
        settings.threads = session.threads
        self.settings = settings
    }
}
