import Foundation
import XCTest

@testable import Nightgraft

final class BackgroundScheduleTests: XCTestCase {
    private let schedule = BackgroundSchedule(identifier: "org.example.night")
    private let calendar: Calendar = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()

    /// A time on the 23rd or, after midnight, on the 24th of a November.
    private func at(_ hour: Int, _ minute: Int = 0, day: Int = 23) throws -> Date {
        try XCTUnwrap(
            calendar.date(from: DateComponents(year: 2026, month: 11, day: day, hour: hour, minute: minute)))
    }

    private func begin(after ending: BackgroundEnding?, at now: Date) -> Date? {
        schedule.request(after: ending, now: now, calendar: calendar)?.earliestBegin
    }

    private func waiting(_ kind: Waiting.Kind) -> BackgroundEnding {
        .ended(.paused(.policy(Waiting(kind: kind, text: ""))))
    }

    func testTheFirstRequestIsForTonight() throws {
        XCTAssertEqual(begin(after: nil, at: try at(15)), try at(22))
        XCTAssertEqual(begin(after: nil, at: try at(23, 30)), try at(23, 30))
        XCTAssertEqual(begin(after: nil, at: try at(3, day: 24)), try at(3, day: 24))
        XCTAssertEqual(begin(after: nil, at: try at(7, day: 24)), try at(22, day: 24))
    }

    func testTheRequestAsksForACharger() throws {
        let request = try XCTUnwrap(schedule.request(after: nil, now: try at(15), calendar: calendar))
        XCTAssertEqual(request.identifier, "org.example.night")
        XCTAssert(request.requiresExternalPower)
    }

    func testAnInterruptedNightGoesOn() throws {
        XCTAssertEqual(begin(after: .expired, at: try at(23)), try at(23, 15))
        XCTAssertEqual(begin(after: .ended(.paused(.stopped)), at: try at(23)), try at(23, 15))
        XCTAssertEqual(begin(after: .ended(.paused(.deadline)), at: try at(6, 50, day: 24)), try at(22, day: 24))
    }

    func testHeatGetsALongerPause() throws {
        XCTAssertEqual(begin(after: waiting(.tooWarm), at: try at(23)), try at(23, 30))
        XCTAssertEqual(begin(after: waiting(.notCharging), at: try at(23)), try at(23, 15))
    }

    func testADoneNightWaitsForTheNextOne() throws {
        let nothingToDo = BackgroundEnding.ended(.nothingToDo(.everythingLearned, text: ""))
        for ending in [nothingToDo, waiting(.minutesUsedUp), waiting(.flashUsedUp)] {
            XCTAssertEqual(begin(after: ending, at: try at(23)), try at(22, day: 24))
            XCTAssertEqual(begin(after: ending, at: try at(2, day: 24)), try at(22, day: 24))
        }
    }

    func testErrorsThatOnlyTheAppCanMendEndTheNights() throws {
        let lasting: [NightgraftError] = [
            .invalidModel(reason: ""), .invalidData(reason: ""), .corrupted(reason: ""), .wrongKey(reason: ""),
            .unsupported(reason: ""), .internalError(reason: ""),
        ]
        for error in lasting {
            XCTAssertNil(begin(after: .failed(error), at: try at(23)))
        }
        XCTAssertEqual(begin(after: .failed(.storeLocked(reason: "")), at: try at(23)), try at(23, 15))
        XCTAssertEqual(begin(after: .failed(nil), at: try at(23)), try at(23, 15))
        for error in [NightgraftError.storageFull(reason: ""), .modelChanged(reason: "")] {
            XCTAssertEqual(begin(after: .failed(error), at: try at(23)), try at(22, day: 24))
        }
    }

    func testNightsWithinADayAndWithoutBounds() throws {
        let noon = NightHours(begins: 12 * 60, ends: 14 * 60)
        XCTAssertEqual(noon.next(from: try at(11), calendar: calendar), try at(12))
        XCTAssertEqual(noon.next(from: try at(13), calendar: calendar), try at(13))
        XCTAssertEqual(noon.next(from: try at(14), calendar: calendar), try at(12, day: 24))
        let always = NightHours(begins: 0, ends: 0)
        XCTAssertEqual(always.next(from: try at(17), calendar: calendar), try at(17))
        XCTAssertEqual(NightHours(begins: -5, ends: 9999), NightHours(begins: 0, ends: 24 * 60 - 1))
    }
}
