import XCTest

@testable import Nightgraft

final class StreamingTaskTests: XCTestCase {
    func testElementsThenTheOutput() async throws {
        let streamingTask = StreamingTask<Int, String>(buffering: .unbounded) { tell in
            (1...5).forEach(tell)
            return "done"
        }
        var seen: [Int] = []
        while let element = try await streamingTask.next() {
            seen.append(element)
        }
        XCTAssertEqual(seen, [1, 2, 3, 4, 5])
        let output = try await streamingTask.output
        XCTAssertEqual(output, "done")
    }

    func testAnErrorComesAfterTheElements() async {
        let streamingTask = StreamingTask<Int, String>(buffering: .unbounded) { tell in
            tell(1)
            throw AppError(number: 7)
        }
        do {
            let first = try await streamingTask.next()
            XCTAssertEqual(first, 1)
            _ = try await streamingTask.next()
            XCTFail("nothing was thrown")
        } catch {
            XCTAssertEqual(error as? AppError, AppError(number: 7))
        }
    }

    func testLeavingTheLoopStopsTheWork() async throws {
        let streamingTask = Self.untilStopped()
        do {
            let subscription = StreamSubscription(to: streamingTask)
            let first = try await subscription.next()
            XCTAssertEqual(first, 1)
        }
        let output = try await streamingTask.output
        XCTAssertEqual(output, "stopped")
    }

    func testDroppingItStopsTheWork() async {
        let stopped = Latch()
        do {
            _ = Self.untilStopped { Task { await stopped.open() } }
        }
        await stopped.wait()
    }

    func testACancelledListenerStopsTheWork() async throws {
        let streamingTask = Self.untilStopped()
        let task = Task {
            while try await streamingTask.next() != nil {}
            return try await streamingTask.output
        }
        task.cancel()
        let output = try await task.value
        XCTAssertEqual(output, "stopped")
    }

    private static func untilStopped(_ onStop: @escaping @Sendable () -> Void = {}) -> StreamingTask<Int, String> {
        StreamingTask(buffering: .unbounded) { tell in
            tell(1)
            while !Task.isCancelled {
                await Task.yield()
            }
            onStop()
            return "stopped"
        }
    }
}
