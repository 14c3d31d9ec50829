import Foundation
import NightgraftTesting
import XCTest

@testable import Nightgraft

final class ContinuedPersonalizationTests: TemporaryFolderTestCase {
    private let grant = TestContinuedGrant()

    private func train(
        _ tiny: TinySession, by scheduler: TestContinuedScheduler,
        onTraining: @escaping @Sendable () -> Void
    ) async throws -> SliceOutcome {
        let continued = ContinuedPersonalization(
            identifier: "org.example.train", title: "Learning", subtitle: "", scheduler: scheduler)
        return try await continued.train(
            tiny.session, on: FixedPlatform(), rules: .whileUsed
        ) { progress in
            if progress.phase == .training { onTraining() }
        }
    }

    @Sendable private static func leaveTheApp() {
        NotificationCenter.default.post(name: .appEntersBackground, object: nil)
    }

    func testItGoesOnInTheBackgroundAndShowsHowFarItIs() async throws {
        let tiny = try await TinySession(in: folder, steps: 40)
        let scheduler = TestContinuedScheduler(grants: grant)
        let outcome = try await train(tiny, by: scheduler) { [grant] in
            // The system grants it a moment after it was asked.
            if grant.isGranted { Self.leaveTheApp() }
        }
        guard case .finished(let report) = outcome else { return XCTFail("\(outcome)") }
        XCTAssertEqual(report.steps, 40)
        XCTAssertEqual(grant.completions, [true])
        XCTAssertEqual(grant.shown, grant.shown.sorted())
        XCTAssertEqual(scheduler.requests.map(\.title), ["Learning"])
        XCTAssert(scheduler.requests.allSatisfy { $0.identifier.hasPrefix("org.example.train.") })
    }

    func testWithoutAGrantItStopsSavedWithTheApp() async throws {
        let tiny = try await TinySession(in: folder, steps: manySteps)
        let scheduler = TestContinuedScheduler(grants: nil)
        let outcome = try await train(tiny, by: scheduler, onTraining: Self.leaveTheApp)
        XCTAssertEqual(outcome, .paused(.stopped))
        // The system may still come with one.
        scheduler.launch(grant)
        XCTAssertEqual(grant.completions, [true])
    }

    func testTheUserEndsItFromOutside() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let outcome = try await train(tiny, by: TestContinuedScheduler(grants: grant)) { [grant] in
            grant.expire()
        }
        XCTAssertEqual(outcome, .paused(.stopped))
        XCTAssertEqual(grant.completions, [false])
    }
}

/// The system as a test plays it: it gives a grant at once, or none.
private final class TestContinuedScheduler: ContinuedScheduler {
    private let grant: TestContinuedGrant?
    private let asked = Recorder<ContinuedRequest>()
    private let launching = Locked<(@Sendable (any ContinuedGrant) -> Void)?>(nil)

    var requests: [ContinuedRequest] {
        asked.values
    }

    init(grants grant: TestContinuedGrant?) {
        self.grant = grant
    }

    func launch(_ grant: any ContinuedGrant) {
        launching.withLock { $0 }?(grant)
    }

    func start(_ request: ContinuedRequest, launch: @escaping @Sendable (any ContinuedGrant) -> Void) throws {
        asked.add(request)
        launching.withLock { $0 = launch }
        guard let grant else { throw AppError(number: 1) }
        launch(grant)
    }
}

private final class TestContinuedGrant: ContinuedGrant {
    private let grant = OnDemandGrant()
    private let fractions = Recorder<Double>()
    private let granted = Flag()

    var completions: [Bool] {
        grant.completions
    }

    var isGranted: Bool {
        granted.isRaised
    }

    var shown: [Double] {
        fractions.values
    }

    func expire() {
        grant.expire()
    }

    func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        grant.onExpiration(handler)
        granted.raise()
    }

    func show(_ fraction: Double) {
        fractions.add(fraction)
    }

    func complete(success: Bool) {
        grant.complete(success: success)
    }
}
