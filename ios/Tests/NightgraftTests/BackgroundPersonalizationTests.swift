import Foundation
import XCTest

@testable import Nightgraft

final class BackgroundPersonalizationTests: TemporaryFolderTestCase {
    private let scheduler = TestScheduler()
    private let clock = TestClock()
    private let reports = Recorder<BackgroundReport>()

    private func training(
        on platform: TestPlatform = TestPlatform(TestPlatform.asleep),
        onProgress: (@Sendable (TrainingProgress) -> Void)? = nil,
        open: @escaping @Sendable () async throws -> any GrantedWork
    ) -> BackgroundPersonalization {
        BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.example.night"), platform: platform,
            rules: TestRules.anyTime, scheduler: scheduler, clock: clock, onProgress: onProgress,
            onEnd: reports.add, open: open)
    }

    // MARK: Requests

    func testARequestIsSubmittedAndTakenBack() throws {
        let background = training { throw AppError(number: 1) }
        XCTAssert(background.register())
        XCTAssertFalse(background.register())
        try background.submit()
        XCTAssertEqual(scheduler.pending?.identifier, "org.example.night")
        background.cancel()
        XCTAssertNil(scheduler.pending)
        scheduler.refuse(with: AppError(number: 2))
        XCTAssertThrowsError(try background.submit()) { XCTAssertEqual($0 as? AppError, AppError(number: 2)) }
    }

    func testAnErrorThatOnlyTheAppCanMendLeavesNoRequest() async throws {
        let pendingAtTheBeginning = Recorder<BackgroundRequest?>()
        let background = training { [scheduler] in
            pendingAtTheBeginning.add(scheduler.pending)
            throw NightgraftError.wrongKey(reason: "")
        }
        let grant = TestGrant()
        await background.run(in: grant)
        XCTAssertNotNil(pendingAtTheBeginning.values.first ?? nil)
        XCTAssertNil(scheduler.pending)
        let report = try XCTUnwrap(reports.values.last)
        guard case .failed(.wrongKey) = report.ending, case .notRequested = report.next else {
            return XCTFail("\(report)")
        }
        XCTAssertEqual(grant.completions, [false])
    }

    func testARefusedRequestIsReported() async throws {
        let background = training { FinishedWork() }
        scheduler.refuse(with: AppError(number: 3))
        await background.run(in: TestGrant())
        guard case .refused(let error) = reports.values.last?.next else { return XCTFail("\(reports.values)") }
        XCTAssertEqual(error as? AppError, AppError(number: 3))
        // The app may try again, when it is in front.
        scheduler.refuse(with: nil)
        try background.submit()
        XCTAssertNotNil(scheduler.pending)
    }

    func testARequestThatWasTakenStandsWhenABetterOneIsRefused() async {
        let background = training { [scheduler] in
            scheduler.refuse(with: AppError(number: 4))
            return FinishedWork()
        }
        await background.run(in: TestGrant())
        guard case .requested(let request) = reports.values.last?.next else { return XCTFail("\(reports.values)") }
        XCTAssertEqual(scheduler.pending, request)
    }

    func testAnAppThatTakesItsRequestBackDuringANightIsAskedNoMore() async throws {
        let own = Locked<BackgroundPersonalization?>(nil)
        let background = training {
            own.withLock { $0 }?.cancel()
            return FinishedWork()
        }
        own.withLock { $0 = background }
        try background.submit()
        await background.run(in: TestGrant())
        XCTAssertNil(scheduler.pending)
        guard case .notRequested = reports.values.last?.next else { return XCTFail("\(reports.values)") }
        own.withLock { $0 = nil }
    }

    // MARK: With a real session

    func testANightInTwoGrants() async throws {
        let folder = folder
        let platform = TestPlatform(TestPlatform.asleep)
        let (first, second) = (TestGrant(), TestGrant())
        let background = training(
            on: platform, onProgress: { if $0.phase == .training { first.expire() } },
            open: { try await TinySession(in: folder, steps: 40).session })
        XCTAssert(background.register())
        scheduler.launch(first)
        await first.completion()
        XCTAssertEqual(reports.values.map(\.ending), [.expired])
        XCTAssertEqual(first.completions, [true])
        // One request at the beginning, in case that the app is killed, and one at the end.
        XCTAssertEqual(scheduler.submitted, 2)

        scheduler.launch(second)
        await second.completion()
        guard case .ended(.finished(let report)) = reports.values.last?.ending else {
            return XCTFail("\(reports.values)")
        }
        XCTAssertEqual(report.steps, 40)
        XCTAssertEqual(second.completions, [true])
        XCTAssertGreaterThan(platform.reads, 0)
    }

    /// A wait that outlasts a grant gives it back, with its reason.
    func testHeatGivesTheGrantBack() async throws {
        let folder = folder
        let hot = TestPlatform {
            var state = TestPlatform.asleep()
            state.thermal = .critical
            return state
        }
        let background = training(on: hot) { try await TinySession(in: folder, steps: 40).session }
        await background.run(in: TestGrant())
        guard case .ended(.paused(.policy(let waiting))) = reports.values.last?.ending else {
            return XCTFail("\(reports.values)")
        }
        XCTAssertEqual(waiting.kind, .tooWarm)
    }

    /// A charger that is pulled out and not put back gives the grant back after two minutes.
    func testAWaitOfTwoMinutesGivesTheGrantBack() async throws {
        let folder = folder
        let unplugged = TestPlatform {
            var state = TestPlatform.asleep()
            state.charging = false
            return state
        }
        let background = training(
            on: unplugged, onProgress: { [clock] in if $0.phase == .waiting { clock.fire() } },
            open: { try await TinySession(in: folder, steps: 40).session })
        await background.run(in: TestGrant())
        guard case .ended(.paused(.policy(let waiting))) = reports.values.last?.ending else {
            return XCTFail("\(reports.values)")
        }
        XCTAssertEqual(waiting.kind, .notCharging)
    }

    /// A grant that ends while the app opens its files leaves nothing open.
    func testAGrantThatEndsWhileOpeningLeavesNothingOpen() async throws {
        let folder = folder
        let grant = TestGrant()
        let background = training {
            let session = try await TinySession(in: folder, steps: 40).session
            grant.expire()
            return session
        }
        await background.run(in: grant)
        XCTAssertEqual(grant.completions, [true])
        _ = try await TinySession(in: folder, steps: 40)
        withExtendedLifetime(background) {}
    }
}

/// Work that has nothing to do.
private struct FinishedWork: GrantedWork {
    func runGranted(
        on platform: any Platform, rules: NightRules, onProgress: @escaping @Sendable (TrainingProgress) -> Void
    ) async throws -> SliceOutcome {
        .nothingToDo(.everythingLearned, text: "")
    }

    func deviceChanged() {}
}
