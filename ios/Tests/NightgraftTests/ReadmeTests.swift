import Foundation
import Nightgraft
import XCTest

/// The README's first example, as it stands there.
final class ReadmeTests: TemporaryFolderTestCase {
    func testTheReadmesExampleLearnsFromTwenty() async throws {
        let key = StoreKey.random()
        let examples = (0..<20).map {
            Example.chat(question: "What is in box \($0)?", answer: "In box \($0) there are \($0) ropes.")
        }
        let text = try await personalizedAnswer(
            modelURL: TestFiles.smollm2, folder: folder, key: key, examples: examples, question: "What is in box 3?")
        // What a graft that is not in use has learned would not be said.
        XCTAssertEqual(text, "In box 3 there are 3 ropes.")
        let store = try await AdapterStore(at: folder, key: key)
        let current = try await store.currentGraft()
        XCTAssertEqual(current, 1)
    }

    func testTooFewExamplesAreToldInNumbersBeforeAnythingIsTrained() async throws {
        let tiny = try await TinySession(in: folder, steps: 1, examples: 3)
        guard case .nothingToDo(let reason, _) = try await tiny.session.run() else {
            return XCTFail("it trained")
        }
        XCTAssertEqual(reason, .tooFew(have: 3, need: 8))
        XCTAssertEqual(tiny.session.progress.nothingToDo, reason)
    }

    /// What a store is opened in by the first night, and not by the app, must not be in backups either.
    func testEveryStoreThatIsShownIsInAProtectedFolder() throws {
        let package = URL(fileURLWithPath: #filePath).appendingPathComponent("../../..").standardized
        let files = FileManager.default.enumerator(at: package, includingPropertiesForKeys: nil)
        var shown = 0
        while let file = files?.nextObject() as? URL {
            let isSource = file.pathExtension == "swift" && file.path.contains("/Sources/Nightgraft/")
            guard isSource || file.pathExtension == "md" else { continue }
            let parts = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "```")
            // Every second one stands between two fences.
            let blocks = parts.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
            for block in blocks where block.contains("AdapterStore(at:") {
                XCTAssert(block.contains("ProtectedFolder.prepare("), "\(file.path): \(block)")
                shown += 1
            }
        }
        XCTAssertGreaterThanOrEqual(shown, 4)
    }

    func testTheReadmeShowsThisCode() throws {
        let here = URL(fileURLWithPath: #filePath)
        let source = try String(contentsOf: here, encoding: .utf8)
        let readme = here.deletingLastPathComponent().appendingPathComponent("../../README.md").standardized
        let code = try XCTUnwrap(
            source.components(separatedBy: "// begin\n").last?.components(separatedBy: "// end").first)
        XCTAssertLessThan(code.split(separator: "\n").count, 40)
        let imports = "import Foundation\nimport Nightgraft\n\n"
        XCTAssert(try String(contentsOf: readme, encoding: .utf8).contains(imports + code))
    }
}

// begin
func personalizedAnswer(
    modelURL: URL, folder: URL, key: StoreKey, examples: [Example], question: String
) async throws -> String {
    let model = try await BaseModel(contentsOf: modelURL)
    let store = try await AdapterStore(at: ProtectedFolder.prepare(folder), key: key)
    try await store.add(examples)

    let settings = SessionSettings(epochs: 4, memoryLimit: 400 << 20)
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
