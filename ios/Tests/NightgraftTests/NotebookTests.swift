import Foundation
import Nightgraft
import NightgraftTesting
import SampleNotebook
import XCTest

/// The sample app, driven as its screen drives it.
final class NotebookTests: XCTestCase {
    @MainActor
    func testNotesInTrainAskBeforeAndAfter() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("notebook-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let notebook = Notebook(
            modelURL: TinyModel.url, folder: folder, settings: TinySession.settings(steps: 4), key: { .random() })
        await notebook.appear()
        XCTAssertEqual(notebook.activity, .idle)
        for number in 0..<12 {
            notebook.question = "Where is key \(number)?"
            notebook.answer = "In drawer \(number * 7 % 12)."
            await notebook.addNote()
            XCTAssertEqual(notebook.status, "")
            XCTAssertEqual(notebook.question, "")
        }
        XCTAssertEqual(notebook.notes.count, 12)
        XCTAssertEqual(Notebook.line(for: notebook.notes[1]), "Where is key 1? – In drawer 7.")
        await notebook.delete([notebook.notes[0].id])
        XCTAssertEqual(notebook.notes.count, 11)

        await notebook.train()
        XCTAssertEqual(notebook.activity, .idle)
        XCTAssertFalse(notebook.status.isEmpty)

        notebook.test = "Where is key 5?"
        await notebook.ask()
        XCTAssertFalse(notebook.before.isEmpty)
        XCTAssertEqual(notebook.activity, .idle)
    }

    @MainActor
    func testErrorsBecomeSentences() async {
        let notebook = Notebook(
            modelURL: URL(fileURLWithPath: "/nowhere.gguf"), folder: URL(fileURLWithPath: "/nowhere"),
            key: { .random() })
        await notebook.train()
        XCTAssertFalse(notebook.status.isEmpty)
        XCTAssertEqual(notebook.activity, .idle)
    }
}
