import Foundation
import Nightgraft

/// A language model of 0.8 MB with random weights: a step of training takes milliseconds, and what it answers is no language.
public enum TinyModel {
    /// The file, in the app's or the tests' bundle.
    public static var url: URL {
        guard let url = Bundle.module.url(forResource: "tiny", withExtension: "gguf") else {
            preconditionFailure("the package has no tiny.gguf")
        }
        return url
    }

    /// Opens it.
    ///
    /// - Returns: The model.
    /// - Throws: `NightgraftError`.
    public static func open() async throws -> BaseModel {
        try await BaseModel(contentsOf: url)
    }

    /// Settings for it: some steps on few examples, and a gate that lets through what has learned them at all. The usual
    /// one refuses everything that is no language.
    ///
    /// - Parameter steps: The steps of a session.
    /// - Returns: The settings.
    public static func settings(steps: Int = 40) -> SessionSettings {
        SessionSettings(
            rank: 2, learningRate: 1e-2, steps: steps, context: 64, batchTokens: 64, heldOut: 0.25, threads: 1,
            gate: GateSettings(
                minimumHeldOut: 2, minimumGain: 0, minimumGainOnCurrent: 0, maximumForgetting: 1000, maximumOverfit: 1,
                minimumWordOrder: 0))
    }

    /// Made-up conversations to learn from, each of them another one. Eight are enough for a session.
    ///
    /// - Parameter count: How many.
    /// - Returns: The examples.
    public static func examples(_ count: Int) -> [Example] {
        (0..<count).map {
            .chat(question: "Where is key \($0)?", answer: "In drawer \($0 * 7 % count), under the maps.")
        }
    }
}
