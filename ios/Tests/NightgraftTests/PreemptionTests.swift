import Foundation
import NightgraftTesting
import XCTest

@testable import Nightgraft

/// A slice of the foreground never uses what was granted for a night.
final class PreemptionTests: TemporaryFolderTestCase {
    /// An app that was suspended in the middle of a slice and woken for a night.
    func testANightEndsTheSlicesOfItsSession() async throws {
        let tiny = try await TinySession(in: folder, steps: manySteps)
        let slice = tiny.session.slice()
        for try await progress in slice where progress.step > 0 {
            let queued = Task { try await tiny.session.run() }
            let grant = OnDemandGrant()
            let background = BackgroundPersonalization(
                schedule: BackgroundSchedule(identifier: "org.example.night"),
                platform: FixedPlatform(), scheduler: OnDemandScheduler(), clock: TestClock(),
                onProgress: { if $0.phase == .training { grant.expire() } },
                open: { tiny.session })
            // Expires only if the night runs.
            await background.run(in: grant)
            XCTAssertEqual(grant.completions, [true])
            queued.cancel()
            let outcome = try await queued.value
            XCTAssertEqual(outcome, .paused(.stopped))
            break
        }
        let outcome = try await slice.outcome
        XCTAssertEqual(outcome, .paused(.stopped))
    }

    func testASliceEndsWhenTheAppLeavesTheForeground() async throws {
        let tiny = try await TinySession(in: folder, steps: manySteps)
        let left = Flag()
        let outcome = try await tiny.session.run { progress in
            guard progress.step > 0, left.raise() else { return }
            NotificationCenter.default.post(name: .appEntersBackground, object: nil)
        }
        XCTAssertEqual(outcome, .paused(.stopped))
        XCTAssertGreaterThan(tiny.session.progress.step, 0)
    }

    func testANightOfTheForegroundEndsWithItAndAnotherDoesNot() async throws {
        let tiny = try await TinySession(in: folder, steps: 20)
        let night: (NightRules) async throws -> SliceOutcome = { rules in
            let left = Flag()
            return try await tiny.session.runNight(on: FixedPlatform(), rules: rules) { progress in
                guard progress.phase == .training, left.raise() else { return }
                NotificationCenter.default.post(name: .appEntersBackground, object: nil)
            }
        }
        let inFront = try await night(.whileUsed)
        XCTAssertEqual(inFront, .paused(.stopped))
        guard case .finished = try await night(NightRules()) else { return XCTFail("it did not finish") }
    }
}
