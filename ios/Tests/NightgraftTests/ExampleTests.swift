import Foundation
import Nightgraft
import XCTest

final class ExampleTests: TemporaryFolderTestCase {
    func testAStoreGivesBackWhatItWasGiven() async throws {
        let examples: [Example] = [
            .chat([.system("Be brief."), .user("Who feeds the \"cat\"?"), .assistant("You do,\nat six.")]),
            .completion(prompt: "Bread: ", completion: "🥖"), .text("The ferry leaves at seven."),
        ]
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        try await store.add(examples)
        let stored = try await store.examples()
        XCTAssertEqual(stored.map(\.example), examples)
    }

    func testLinesOfOtherKindsAreNoExample() async throws {
        let file = folder.appendingPathComponent("lines.jsonl")
        let lines = """
            {"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "tool", "content": "2"}, \
            {"role": "assistant", "content": "2"}]}
            {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}
            {"text": "A line.", "source": "notes"}
            """
        try Data(lines.utf8).write(to: file)
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        try await store.add(contentsOf: file)
        let stored = try await store.examples()
        XCTAssertEqual(stored.map(\.example), [nil, nil, .text("A line.")])
    }
}
