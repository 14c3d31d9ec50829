import Foundation
import Nightgraft
import XCTest

final class NightRecordTests: TemporaryFolderTestCase {
    /// A phone at night, so many days after some other one.
    @Sendable private static func device(day: Int, charging: Bool = true) -> DeviceState {
        var state = TestPlatform.asleep()
        state.unixSeconds = 1_790_000_000 + day * 86_400
        state.charging = charging
        return state
    }

    func testWhatBecameOfEachNightIsKeptAndToldWhileOneGoesOn() async throws {
        let tiny = try await TinySession(in: folder, steps: 10)
        let (session, store) = (tiny.session, tiny.store)
        let none = try await store.nights()
        XCTAssertEqual(none, [])
        try await session.runNight(on: TestPlatform { Self.device(day: 0, charging: false) }) { progress in
            if progress.phase == .waiting { session.stop() }
        }

        var rules = NightRules()
        rules.idleGrace = .zero
        let night = session.night(on: TestPlatform { Self.device(day: 1) }, rules: rules)
        var meanwhile: NightRecord?
        for try await progress in night where progress.phase == .training && meanwhile == nil {
            meanwhile = try await store.nights().last
        }
        guard case .finished(let report) = try await night.outcome else { return XCTFail("it did not finish") }
        try await session.runNight(on: TestPlatform { Self.device(day: 2) })

        let nights = try await store.nights()
        XCTAssertEqual(nights.map(\.began.timeIntervalSince1970), (0..<3).map { 1_790_000_000 + Double($0) * 86_400 })
        XCTAssertEqual(meanwhile?.began, nights[1].began)
        XCTAssertEqual(nights[0].waits.map(\.kind), [.notCharging])
        XCTAssertEqual(nights[0].end, .stopped)
        XCTAssertEqual(
            nights[1].end,
            .finished(graft: report.graft, promoted: report.promoted, refusals: report.verdict.refusals))
        XCTAssertEqual(nights[1].steps, 10)
        XCTAssertEqual(session.progress.estimate?.stepsLeft, 0)
        XCTAssertEqual(report.verdict.promotes, report.verdict.refusals.isEmpty)
        XCTAssertGreaterThan(nights[1].running, .zero)
        XCTAssertLessThanOrEqual(nights[1].running, nights[1].duration)
        guard case .nothingToDo = nights[2].end else { return XCTFail("\(nights[2])") }
    }
}
