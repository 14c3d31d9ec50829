import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

final class StoreChangesTests: TemporaryFolderTestCase {
    func testAScreenHearsOfEachChangeUntilTheStoreIsClosed() async throws {
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        var changes = store.changes.makeAsyncIterator()
        let first: Void? = await changes.next()
        XCTAssertNotNil(first)
        for count in 1...3 {
            try await store.add(TinyModel.examples(count))
            let change: Void? = await changes.next()
            XCTAssertNotNil(change)
        }
        let screen = Task { for await _ in store.changes {} }
        try await store.close()
        await screen.value
        let none: Void? = await changes.next()
        XCTAssertNil(none)
    }

    func testACancelledScreenDoesNotWait() async throws {
        let store = try await AdapterStore(at: folder.appendingPathComponent("store"), settings: .unencrypted())
        let heard = Latch()
        let screen = Task {
            for await _ in store.changes {
                await heard.open()
            }
        }
        await heard.wait()
        screen.cancel()
        await screen.value
    }
}
