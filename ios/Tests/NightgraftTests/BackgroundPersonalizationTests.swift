import Foundation
import NightgraftTesting
import XCTest

@testable import Nightgraft

final class BackgroundPersonalizationTests: TemporaryFolderTestCase {
    private let scheduler = OnDemandScheduler()
    private let clock = TestClock()
    private let reports = Recorder<BackgroundReport>()

    private func training(
        on platform: FixedPlatform = FixedPlatform(),
        onProgress: (@Sendable (TrainingProgress) -> Void)? = nil,
        open: @escaping @Sendable () async throws -> any GrantedWork
    ) -> BackgroundPersonalization {
        BackgroundPersonalization(
            schedule: BackgroundSchedule(identifier: "org.example.night"), platform: platform,
            scheduler: scheduler, clock: clock, onProgress: onProgress, onEnd: reports.add, open: open)
    }

    // MARK: Requests

    func testARequestIsSubmittedAndTakenBack() throws {
        let background = training { throw AppError(number: 1) }
        XCTAssert(background.register())
        XCTAssertFalse(background.register())
        try background.submit()
        XCTAssertEqual(scheduler.pending.map(\.identifier), ["org.example.night"])
        background.cancel()
        XCTAssertEqual(scheduler.pending, [])
        scheduler.refuse(with: AppError(number: 2))
        XCTAssertThrowsError(try background.submit()) { XCTAssertEqual($0 as? AppError, AppError(number: 2)) }
    }

    func testAnErrorThatOnlyTheAppCanMendLeavesNoRequest() async throws {
        let pendingAtTheBeginning = Recorder<BackgroundRequest>()
        let background = training { [scheduler] in
            scheduler.pending.forEach(pendingAtTheBeginning.add)
            throw NightgraftError.wrongKey(reason: "")
        }
        let grant = OnDemandGrant()
        await background.run(in: grant)
        XCTAssertEqual(pendingAtTheBeginning.values.count, 1)
        XCTAssertEqual(scheduler.pending, [])
        let report = try XCTUnwrap(reports.values.last)
        guard case .failed(.wrongKey) = report.ending, case .notRequested = report.next else {
            return XCTFail("\(report)")
        }
        XCTAssertEqual(grant.completions, [false])
    }

    func testARefusedRequestIsReported() async throws {
        let background = training { FinishedWork() }
        scheduler.refuse(with: AppError(number: 3))
        await background.run(in: OnDemandGrant())
        guard case .refused(let error) = reports.values.last?.next else { return XCTFail("\(reports.values)") }
        XCTAssertEqual(error as? AppError, AppError(number: 3))
        // The app may try again, when it is in front.
        scheduler.refuse(with: nil)
        try background.submit()
        XCTAssertEqual(scheduler.pending.count, 1)
    }

    func testARequestThatWasTakenStandsWhenABetterOneIsRefused() async {
        let background = training { [scheduler] in
            scheduler.refuse(with: AppError(number: 4))
            return FinishedWork()
        }
        await background.run(in: OnDemandGrant())
        guard case .requested(let request) = reports.values.last?.next else { return XCTFail("\(reports.values)") }
        XCTAssertEqual(scheduler.pending, [request])
    }

    func testAnAppThatTakesItsRequestBackDuringANightIsAskedNoMore() async throws {
        let own = Locked<BackgroundPersonalization?>(nil)
        let background = training {
            own.withLock { $0 }?.cancel()
            return FinishedWork()
        }
        own.withLock { $0 = background }
        try background.submit()
        await background.run(in: OnDemandGrant())
        XCTAssertEqual(scheduler.pending, [])
        guard case .notRequested = reports.values.last?.next else { return XCTFail("\(reports.values)") }
        own.withLock { $0 = nil }
    }

    // MARK: With a real session

    func testANightInTwoGrants() async throws {
        let folder = folder
        let platform = FixedPlatform()
        let background = training(
            on: platform,
            onProgress: { [scheduler] progress in
                // In the first grant: the app's own request came before, and the one at the grant's beginning.
                if progress.phase == .training, scheduler.submissions == 2 { scheduler.latestGrant?.expire() }
            },
            open: { try await TinySession(in: folder, steps: 40).session })
        XCTAssert(background.register())
        try background.submit()
        let first = try XCTUnwrap(scheduler.grant())
        await first.completion()
        XCTAssertEqual(reports.values.map(\.ending), [.expired])
        XCTAssertEqual(first.completions, [true])
        // One request at the beginning, in case that the app is killed, and one at the end.
        XCTAssertEqual(scheduler.submissions, 3)

        let second = try XCTUnwrap(scheduler.grant())
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
        let hot = FixedPlatform()
        hot.change { $0.thermal = .critical }
        let background = training(on: hot) { try await TinySession(in: folder, steps: 40).session }
        await background.run(in: OnDemandGrant())
        guard case .ended(.paused(.policy(let waiting))) = reports.values.last?.ending else {
            return XCTFail("\(reports.values)")
        }
        XCTAssertEqual(waiting.kind, .tooWarm)
    }

    /// A charger that is pulled out and not put back gives the grant back after two minutes.
    func testAWaitOfTwoMinutesGivesTheGrantBack() async throws {
        let folder = folder
        let unplugged = FixedPlatform()
        unplugged.change { $0.charging = false }
        let background = training(
            on: unplugged, onProgress: { [clock] in if $0.phase == .waiting { clock.advance(by: .seconds(120)) } },
            open: { try await TinySession(in: folder, steps: 40).session })
        await background.run(in: OnDemandGrant())
        guard case .ended(.paused(.policy(let waiting))) = reports.values.last?.ending else {
            return XCTFail("\(reports.values)")
        }
        XCTAssertEqual(waiting.kind, .notCharging)
    }

    /// A grant that ends while the app opens its files leaves nothing open.
    func testAGrantThatEndsWhileOpeningLeavesNothingOpen() async throws {
        let folder = folder
        let grant = OnDemandGrant()
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
