import Foundation
import XCTest

@testable import Nightgraft

final class GrantWatchTests: XCTestCase {
    private let clock = HeldClock()
    private let givenBack = Recorder<Bool>()

    private func makeWatch() -> GrantWatch {
        GrantWatch(clock: clock) { [givenBack] in givenBack.add(true) }
    }

    func testLongWaitsGiveTheGrantBackAtOnceAndOthersAfterTwoMinutes() {
        let patient: [Waiting.Kind] = [.notCharging, .inUse, .justUsed, .memoryLow, .unreadable]
        for kind in Waiting.Kind.allCases {
            let (before, watch) = (givenBack.values.count, makeWatch())
            watch.observe(.waiting(for: kind))
            if patient.contains(kind) {
                XCTAssertEqual(givenBack.values.count, before, "\(kind)")
                XCTAssertNil(watch.givenUpFor)
                clock.fire()
            }
            XCTAssertEqual(givenBack.values.count, before + 1, "\(kind)")
            XCTAssertEqual(watch.givenUpFor?.kind, kind)
            watch.observe(.waiting(for: kind))
            watch.observe(.during(.paused))
            XCTAssertEqual(givenBack.values.count, before + 1, "\(kind)")
        }
        XCTAssertEqual(Set(clock.started), [.seconds(120)])
        XCTAssertEqual(clock.running.count, 0)
    }

    func testOpeningIsNoTraining() {
        let watch = makeWatch()
        clock.fire()
        XCTAssertEqual(givenBack.values, [true])
        XCTAssertNil(watch.givenUpFor)
    }

    func testTrainingBeginsTheTwoMinutesAnew() {
        let watch = makeWatch()
        watch.observe(.waiting(for: .notCharging))
        XCTAssertEqual(clock.started.count, 1)
        watch.observe(.waiting(for: .memoryLow))
        // Another reason is no training.
        XCTAssertEqual(clock.started.count, 1)
        let late = clock.running
        for phase in [TrainingProgress.Phase.preparing, .training, .judging] {
            watch.observe(.during(phase))
            XCTAssertEqual(clock.running.count, 0)
        }
        // One that ends in the moment in which it is stopped has no effect.
        late.forEach { $0() }
        XCTAssertEqual(givenBack.values, [])
        watch.observe(.waiting(for: .notCharging))
        XCTAssertEqual(clock.started.count, 2)
        late.forEach { $0() }
        XCTAssertEqual(givenBack.values, [])
        clock.fire()
        XCTAssertEqual(watch.givenUpFor?.kind, .notCharging)
    }
}

/// A clock that hands out its countdowns, so that a test can end one that was stopped.
private final class HeldClock: BackgroundClock {
    let now = Date(timeIntervalSince1970: 1_795_476_600)
    let calendar = Calendar(identifier: .gregorian)

    private struct State {
        var started: [Duration] = []
        var running: [Int: @Sendable () -> Void] = [:]
    }

    private let state = Locked(State())

    /// The delays of all countdowns that were started.
    var started: [Duration] {
        state.withLock { $0.started }
    }

    /// What runs now.
    var running: [@Sendable () -> Void] {
        state.withLock { Array($0.running.values) }
    }

    func countDown(_ delay: Duration, then action: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        state.withLock { state in
            let number = state.started.count
            state.started.append(delay)
            state.running[number] = action
            return { [self] in self.state.withLock { $0.running[number] = nil } }
        }
    }

    /// Ends what runs.
    func fire() {
        for action in running {
            action()
        }
    }
}
