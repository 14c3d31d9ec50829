import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

/// A session on the tiny model, with made-up examples.
struct TinySession: Sendable {
    let model: BaseModel
    let store: AdapterStore
    let session: PersonalizationSession

    /// A session of `steps` steps in a store in `folder`.
    init(in folder: URL, steps: Int, examples: Int = 12) async throws {
        model = try await TinyModel.open()
        store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        try await store.add(TinyModel.examples(examples))
        session = try await PersonalizationSession(
            model: model, store: store, settings: Self.settings(steps: steps))
    }

    static func settings(steps: Int) -> SessionSettings {
        SessionSettings(
            rank: 2, learningRate: 1e-3, steps: steps, context: 64, batchTokens: 64, heldOut: 0.25, threads: 1,
            gate: GateSettings(minimumHeldOut: 2))
    }
}

/// Steps that no test waits for: whoever starts so many means to stop them.
let endlessSteps = 1_000_000

/// Steps before which a session that something shall end is ended: where nothing does, it finishes, and its test fails soon.
let manySteps = 3_000

/// An error of the tests' own, as an app has them.
struct AppError: Error, Equatable {
    let number: Int
}

/// Fails unless `work` throws the error that `isExpected` recognizes.
func expect<Value>(
    _ isExpected: (NightgraftError) -> Bool, file: StaticString = #filePath, line: UInt = #line,
    of work: () async throws -> Value
) async {
    do {
        _ = try await work()
        XCTFail("nothing was thrown", file: file, line: line)
    } catch let error as NightgraftError {
        XCTAssert(isExpected(error), "\(error)", file: file, line: line)
    } catch {
        XCTFail("not an error of the library: \(error)", file: file, line: line)
    }
}
