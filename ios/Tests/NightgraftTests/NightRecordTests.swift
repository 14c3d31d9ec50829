import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

final class NightRecordTests: TemporaryFolderTestCase {
    func testWhatBecameOfEachNightIsKeptAndToldWhileOneGoesOn() async throws {
        let tiny = try await TinySession(in: folder, steps: 10)
        let (session, store) = (tiny.session, tiny.store)
        let clock = TestClock()
        let phone = FixedPlatform(clock: clock)
        let none = try await store.nights()
        XCTAssertEqual(none, [])
        phone.change { $0.charging = false }
        try await session.runNight(on: phone) { progress in
            if progress.phase == .waiting { session.stop() }
        }

        phone.change { $0.charging = true }
        clock.advance(by: .seconds(86_400))
        let night = session.night(on: phone)
        var meanwhile: NightRecord?
        for try await progress in night where progress.phase == .training && meanwhile == nil {
            meanwhile = try await store.nights().last
        }
        guard case .finished(let report) = try await night.outcome else { return XCTFail("it did not finish") }
        clock.advance(by: .seconds(86_400))
        try await session.runNight(on: phone)

        let nights = try await store.nights()
        XCTAssertEqual(nights.map(\.began), (0..<3).map { TestClock.start + Double($0) * 86_400 })
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
