import XCTest

@testable import Nightgraft

final class AsyncMutexTests: XCTestCase {
    func testOneAtATimeAndAllOfThem() async {
        let mutex = AsyncMutex()
        let inside = Locked(0)
        let most = Locked(0)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    await mutex.withLock(stop: {}) { _ in
                        let now = inside.withLock { count in
                            count += 1
                            return count
                        }
                        most.withLock { $0 = max($0, now) }
                        await Task.yield()
                        inside.withLock { $0 -= 1 }
                        return true
                    } ?? false
                }
            }
            var passed = 0
            for await result in group where result {
                passed += 1
            }
            XCTAssertEqual(passed, 200)
        }
        XCTAssertEqual(most.withLock { $0 }, 1)
    }

    func testACancelledTaskGivesUpItsPlaceAndStopsNobody() async {
        let mutex = AsyncMutex()
        let entered = Latch()
        let leave = Latch()
        let stops = Recorder<String>()
        let first = Task {
            await mutex.withLock(stop: { stops.add("first") }) { _ in
                await entered.open()
                await leave.wait()
                return 1
            }
        }
        await entered.wait()
        let second = Task { await mutex.withLock(stop: { stops.add("second") }) { _ in 2 } }
        let third = Task { await mutex.withLock(stop: { stops.add("third") }) { _ in 3 } }
        second.cancel()
        let given = await second.value
        XCTAssertNil(given)
        await leave.open()
        let results = await [first.value, third.value]
        XCTAssertEqual(results, [1, 3])
        XCTAssertEqual(stops.values, [])
    }

    func testACancelledTaskStopsItsOwnWork() async {
        let mutex = AsyncMutex()
        let entered = Latch()
        let leave = Latch()
        let work = Task {
            await mutex.withLock(stop: { Task { await leave.open() } }) { stopped in
                await entered.open()
                await leave.wait()
                return stopped.isRaised
            }
        }
        await entered.wait()
        work.cancel()
        let knew = await work.value
        XCTAssertEqual(knew, true)
        let next = await mutex.withLock(stop: {}) { _ in "free again" }
        XCTAssertEqual(next, "free again")
    }

    func testOneThatPreemptsEndsWhatRunsAndWhatWaits() async {
        let mutex = AsyncMutex()
        let entered = Latch()
        let leave = Latch()
        let stops = Recorder<String>()
        let running = Task {
            await mutex.withLock(
                stop: {
                    stops.add("running")
                    Task { await leave.open() }
                }
            ) { stopped in
                await entered.open()
                await leave.wait()
                return stopped.isRaised
            }
        }
        await entered.wait()
        let waiting = Task { await mutex.withLock(stop: { stops.add("waiting") }) { _ in true } }
        while mutex.waitingCount == 0 {
            await Task.yield()
        }
        let night = await mutex.withLock(preempting: true, stop: { stops.add("night") }) { $0.isRaised }
        XCTAssertEqual(night, false)
        let (stopped, sentAway) = await (running.value, waiting.value)
        XCTAssertEqual(stopped, true)
        XCTAssertNil(sentAway)
        XCTAssertEqual(stops.values, ["running"])
    }
}
