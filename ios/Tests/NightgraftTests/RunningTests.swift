import XCTest

@testable import Nightgraft

final class RunningTests: XCTestCase {
    func testElementsThenTheOutput() async throws {
        let running = Running<Int, String>(buffering: .unbounded) { tell in
            (1...5).forEach(tell)
            return "done"
        }
        var seen: [Int] = []
        while let element = try await running.next() {
            seen.append(element)
        }
        XCTAssertEqual(seen, [1, 2, 3, 4, 5])
        let output = try await running.output
        XCTAssertEqual(output, "done")
    }

    func testAnErrorComesAfterTheElements() async {
        let running = Running<Int, String>(buffering: .unbounded) { tell in
            tell(1)
            throw AppError(number: 7)
        }
        do {
            let first = try await running.next()
            XCTAssertEqual(first, 1)
            _ = try await running.next()
            XCTFail("nothing was thrown")
        } catch {
            XCTAssertEqual(error as? AppError, AppError(number: 7))
        }
    }

    func testLeavingTheLoopStopsTheWork() async throws {
        let running = Self.untilStopped()
        do {
            let listening = Listening(to: running)
            let first = try await listening.next()
            XCTAssertEqual(first, 1)
        }
        let output = try await running.output
        XCTAssertEqual(output, "stopped")
    }

    func testDroppingItStopsTheWork() async {
        let stopped = Gate()
        do {
            _ = Self.untilStopped { Task { await stopped.open() } }
        }
        await stopped.wait()
    }

    func testACancelledListenerStopsTheWork() async throws {
        let running = Self.untilStopped()
        let task = Task {
            while try await running.next() != nil {}
            return try await running.output
        }
        task.cancel()
        let output = try await task.value
        XCTAssertEqual(output, "stopped")
    }

    private static func untilStopped(_ onStop: @escaping @Sendable () -> Void = {}) -> Running<Int, String> {
        Running(buffering: .unbounded) { tell in
            tell(1)
            while !Task.isCancelled {
                await Task.yield()
            }
            onStop()
            return "stopped"
        }
    }
}
