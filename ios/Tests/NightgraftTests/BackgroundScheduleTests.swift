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

    private func begin(
        after ending: BackgroundEnding?, at now: Date, in window: NightWindow? = .night,
        dayBegins: TimeOfDay = TimeOfDay(hour: 12)
    ) -> Date? {
        var rules = NightRules()
        rules.window = window
        rules.dayBegins = dayBegins
        return schedule.request(after: ending, rules: rules, now: now, calendar: calendar)?.earliestBegin
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

    func testHeatAndOtherAppsMemoryGetALongerPause() throws {
        for kind in [Waiting.Kind.tooWarm, .coolingDown, .memoryLow] {
            XCTAssertEqual(begin(after: waiting(kind), at: try at(23)), try at(23, 30))
        }
        XCTAssertEqual(begin(after: waiting(.notCharging), at: try at(23)), try at(23, 15))
    }

    func testADoneNightWaitsForTheNextOne() throws {
        let nothingToDo = BackgroundEnding.ended(.nothingToDo(.everythingLearned, text: ""))
        for ending in [nothingToDo, waiting(.minutesUsedUp), waiting(.flashUsedUp), waiting(.storageLow)] {
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

    /// One window says when the night trains and when a grant is asked for: none is spent on waiting for it to open.
    func testTheWindowOfTheRulesSaysWhenToBegin() throws {
        let early = try XCTUnwrap(NightWindow(opens: TimeOfDay(hour: 1), closes: TimeOfDay(hour: 5)))
        XCTAssertEqual(begin(after: nil, at: try at(22), in: early), try at(1, day: 24))
        XCTAssertEqual(begin(after: waiting(.outsideWindow), at: try at(22), in: early), try at(1, day: 24))
        XCTAssertEqual(begin(after: .expired, at: try at(4, 50, day: 24), in: early), try at(1, day: 25))
        XCTAssertEqual(try NightRules.atNight.ffi().window, "22:00-07:00")
    }

    func testBudgetsBeginAnewWithinANight() throws {
        let midnight = TimeOfDay(hour: 0)
        XCTAssertEqual(
            begin(after: waiting(.energyUsedUp), at: try at(23), dayBegins: midnight), try at(0, day: 24))
        let nothingToDo = BackgroundEnding.ended(.nothingToDo(.noExamples, text: ""))
        XCTAssertEqual(begin(after: nothingToDo, at: try at(23), dayBegins: midnight), try at(22, day: 24))
    }

    func testNightsAtAnyTime() throws {
        XCTAssertEqual(begin(after: nil, at: try at(15), in: nil), try at(15))
        XCTAssertEqual(begin(after: .expired, at: try at(15), in: nil), try at(15, 15))
        XCTAssertEqual(
            begin(after: .ended(.nothingToDo(.noExamples, text: "")), at: try at(15), in: nil), try at(12, day: 24))
    }

    func testWindows() throws {
        let noon = try XCTUnwrap(NightWindow(opens: TimeOfDay(hour: 12), closes: TimeOfDay(hour: 14, minute: 5)))
        XCTAssertEqual(noon.text, "12:00-14:05")
        XCTAssertFalse(noon.contains(try at(11, 59), calendar: calendar))
        XCTAssert(noon.contains(try at(14, 4), calendar: calendar))
        XCTAssertFalse(noon.contains(try at(14, 5), calendar: calendar))
        XCTAssert(NightWindow.night.contains(try at(0), calendar: calendar))
        XCTAssertNil(NightWindow(opens: TimeOfDay(hour: 0), closes: TimeOfDay(hour: 24)))
    }

    func testTimesBeyondADayCountOnFromMidnight() {
        XCTAssertEqual(TimeOfDay(hour: 24).minutes, 0)
        XCTAssertEqual(TimeOfDay(hour: -1, minute: 30).minutes, 23 * 60 + 30)
        XCTAssertEqual(TimeOfDay(hour: 1, minute: -90).minutes, 23 * 60 + 30)
        for extreme in [Int.min, .max] {
            XCTAssert((0..<1440).contains(TimeOfDay(hour: extreme, minute: extreme).minutes))
        }
    }
}
