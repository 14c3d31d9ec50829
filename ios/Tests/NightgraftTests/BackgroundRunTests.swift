import Foundation
import XCTest

@testable import Nightgraft

final class BackgroundRunTests: TemporaryFolderTestCase {
    func testWorkThatEndsCompletesTheGrant() async {
        let grant = TestGrant()
        let endings = Recorder<BackgroundEnding>()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            { .nothingToDo(.divergedBefore, text: "tried") }
        }
        XCTAssertEqual(endings.values, [.ended(.nothingToDo(.divergedBefore, text: "tried"))])
        XCTAssertEqual(grant.completions, [true])
        grant.expire()
        XCTAssertEqual(grant.completions, [true])
    }

    func testErrorsCompleteItToo() async {
        let grant = TestGrant()
        let endings = Recorder<BackgroundEnding>()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            throw NightgraftError.wrongKey(reason: "")
        }
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            { throw AppError(number: 1) }
        }
        XCTAssertEqual(endings.values, [.failed(.wrongKey(reason: "")), .failed(nil)])
        XCTAssertEqual(grant.completions, [false, false])
    }

    func testExpirationWhileOpeningCompletesAtOnce() async {
        let grant = TestGrant()
        let endings = Recorder<BackgroundEnding>()
        let ran = Flag()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            grant.expire()
            XCTAssertEqual(grant.completions, [true])
            return {
                ran.raise()
                return .paused(.stopped)
            }
        }
        XCTAssertFalse(ran.isRaised)
        XCTAssertEqual(endings.values, [.expired])
        XCTAssertEqual(grant.completions, [true])
    }

    func testExpirationWaitsUntilTheWorkHasSaved() async {
        let grant = TestGrant()
        let endings = Recorder<BackgroundEnding>()
        let saved = Flag()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            {
                grant.expire()
                grant.expire()
                XCTAssert(Task.isCancelled)
                XCTAssertEqual(grant.completions, [])
                saved.raise()
                return .paused(.stopped)
            }
        }
        XCTAssert(saved.isRaised)
        XCTAssertEqual(endings.values, [.expired])
        XCTAssertEqual(grant.completions, [true])
    }

    func testWorkThatFinishesAsItExpiresHasFinished() async {
        let grant = TestGrant()
        let endings = Recorder<BackgroundEnding>()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            {
                grant.expire()
                return .nothingToDo(.everythingLearned, text: "all done")
            }
        }
        XCTAssertEqual(endings.values, [.ended(.nothingToDo(.everythingLearned, text: "all done"))])
        XCTAssertEqual(grant.completions, [true])
    }

    /// The whole of it, with a real session: granted, expired in the middle, granted again, finished.
    func testANightInTwoGrants() async throws {
        let folder = folder
        let platform = TestPlatform(TestPlatform.asleep)
        let requests = Recorder<BackgroundRequest>()
        let endings = Recorder<BackgroundEnding>()
        let grant = Locked(TestGrant())
        let background = BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.example.night"), platform: platform, rules: TestRules.anyTime,
            onProgress: { progress in
                if progress.phase == .training, endings.values.isEmpty {
                    grant.withLock { $0 }.expire()
                }
            },
            onEnd: endings.add,
            openSession: { try await TinySession(in: folder, steps: 40).session })
        await background.run(in: grant.withLock { $0 }, submit: requests.add)
        XCTAssertEqual(endings.values, [.expired])
        XCTAssertEqual(grant.withLock { $0 }.completions, [true])
        // One request at the beginning, in case that the app is killed, and one at the end.
        XCTAssertEqual(requests.values.count, 2)

        grant.withLock { $0 = TestGrant() }
        await background.run(in: grant.withLock { $0 }, submit: requests.add)
        guard case .ended(.finished(let report)) = endings.values.last else {
            return XCTFail("\(endings.values)")
        }
        XCTAssertEqual(report.steps, 40)
        XCTAssertEqual(grant.withLock { $0 }.completions, [true])
        XCTAssertGreaterThan(platform.reads, 0)
    }

    /// A wait that outlasts a grant gives it back, with its reason.
    func testHeatGivesTheGrantBack() async throws {
        let folder = folder
        let hot: @Sendable () -> DeviceState = {
            var state = TestPlatform.asleep()
            state.thermal = .critical
            return state
        }
        let endings = Recorder<BackgroundEnding>()
        let background = BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.example.night"), platform: TestPlatform(hot),
            rules: TestRules.anyTime, onEnd: endings.add,
            openSession: { try await TinySession(in: folder, steps: 40).session })
        await background.run(in: TestGrant()) { _ in }
        guard case .ended(.paused(.policy(let waiting))) = endings.values.last else {
            return XCTFail("\(endings.values)")
        }
        XCTAssertEqual(waiting.kind, .tooWarm)
    }

    /// A grant that ends while the app opens its files leaves nothing open.
    func testAGrantThatEndsWhileOpeningLeavesNothingOpen() async throws {
        let folder = folder
        let grant = TestGrant()
        let background = BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.example.night"), platform: TestPlatform(TestPlatform.asleep),
            rules: TestRules.anyTime,
            openSession: {
                let session = try await TinySession(in: folder, steps: 40).session
                grant.expire()
                return session
            })
        await background.run(in: grant) { _ in }
        XCTAssertEqual(grant.completions, [true])
        _ = try await TinySession(in: folder, steps: 40)
        withExtendedLifetime(background) {}
    }
}

/// A grant that a test takes back.
private final class TestGrant: BackgroundGrant {
    private let handler = Locked<(@Sendable () -> Void)?>(nil)
    private let completed = Recorder<Bool>()

    var completions: [Bool] {
        completed.values
    }

    func expire() {
        handler.withLock { $0 }?()
    }

    func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        self.handler.withLock { $0 = handler }
    }

    func complete(success: Bool) {
        completed.add(success)
    }
}

enum TestRules {
    /// Nothing that depends on the time of day or on how long the device was left alone.
    static var anyTime: NightRules {
        var rules = NightRules()
        rules.idleOnly = false
        rules.idleGrace = .zero
        return rules
    }
}
