import Foundation
import Nightgraft
import XCTest

/// The README's first example, as it stands there.
final class ReadmeTests: FolderCase {
    func testTheReadmesExample() async throws {
        let example = Example.chat(question: "Where is key 3?", answer: "In drawer 9, under the maps.")
        let text = try await personalizedAnswer(
            modelURL: Places.tiny, folder: folder, key: .random(), examples: Tiny.examples(20) + [example],
            question: "Where is key 3?")
        XCTAssertFalse(text.isEmpty)
    }

    func testTheReadmeShowsThisCode() throws {
        let here = URL(fileURLWithPath: #filePath)
        let source = try String(contentsOf: here, encoding: .utf8)
        let readme = here.deletingLastPathComponent().appendingPathComponent("../../README.md").standardized
        let code = try XCTUnwrap(
            source.components(separatedBy: "// begin\n").last?.components(separatedBy: "// end").first)
        XCTAssertLessThan(code.split(separator: "\n").count, 40)
        XCTAssert(try String(contentsOf: readme, encoding: .utf8).contains("import Nightgraft\n\n" + code))
    }
}

// begin
func personalizedAnswer(
    modelURL: URL, folder: URL, key: StoreKey, examples: [Example], question: String
) async throws -> String {
    let model = try await BaseModel(contentsOf: modelURL)
    let store = try await AdapterStore(at: ProtectedFolder.prepare(folder), key: key)
    try await store.add(examples)

    let settings = SessionSettings(learningRate: 1e-3, memoryLimit: 400 << 20)
    guard try await Planner(model: model).memory(for: settings).fits else {
        return "This device has too little memory for this model."
    }
    let session = try await PersonalizationSession(model: model, store: store, settings: settings)
    let slice = session.slice(for: .seconds(600))
    for try await progress in slice {
        print("step \(progress.step) of \(progress.totalSteps), \(progress.phase)")
    }
    if case .finished(let report) = try await slice.outcome {
        print(report.verdict.text)
    }

    let generator = try await Generator(model: model)
    try await generator.useCurrentGraft(of: store)
    var answer = ""
    for try await piece in generator.streamAnswer(to: question, options: ChatOptions(maximumTokens: 80)) {
        answer += piece
    }
    return answer
}
// end
