import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

/// What apps' tests play with does as its system.
final class NightgraftTestingTests: XCTestCase {
    func testCountdownsEndInTheirOrderAtTheirOwnTime() {
        let clock = TestClock()
        let ended = Recorder<String>()
        let note: @Sendable (String) -> @Sendable () -> Void = { name in
            { ended.add("\(name) after \(Int(clock.now.timeIntervalSince(TestClock.start))) s") }
        }
        _ = clock.countDown(.seconds(20), then: note("second"))
        let stop = clock.countDown(.seconds(15), then: note("stopped"))
        _ = clock.countDown(.seconds(10)) {
            note("first")()
            _ = clock.countDown(.seconds(15), then: note("third"))
        }
        stop()
        clock.advance(by: .seconds(9))
        XCTAssertEqual(ended.values, [])
        clock.advance(by: .seconds(60))
        XCTAssertEqual(ended.values, ["first after 10 s", "second after 20 s", "third after 25 s"])
        XCTAssertEqual(clock.now, TestClock.start + 69)
    }

    func testADeviceShowsTheTimeOfItsClock() throws {
        let zone = try XCTUnwrap(TimeZone(secondsFromGMT: 3600))
        let clock = TestClock(timeZone: zone)
        let phone = FixedPlatform(clock: clock)
        clock.advance(by: .seconds(90))
        let state = try phone.state()
        XCTAssertEqual(state.unixSeconds, DeviceState.ready.unixSeconds + 90)
        XCTAssertEqual(state.utcOffsetSeconds, 3600)
        XCTAssertEqual(phone.reads, 1)
        XCTAssertEqual(try FixedPlatform().state(), .ready)
    }

    func testTheEarliestRequestThatIsRegisteredIsGranted() throws {
        let scheduler = OnDemandScheduler()
        XCTAssertNil(scheduler.grant())
        for (name, hours) in [("late", 2.0), ("unknown", 0), ("early", 1)] {
            let request = BackgroundSchedule(identifier: name).request(
                after: nil, rules: NightRules(), now: TestClock.start + hours * 3600)
            try scheduler.submit(XCTUnwrap(request))
        }
        let launched = Recorder<String>()
        for name in ["late", "early"] {
            XCTAssert(scheduler.register(name) { _ in launched.add(name) })
        }
        let grants = [scheduler.grant(), scheduler.grant(), scheduler.grant()]
        XCTAssertEqual(launched.values, ["early", "late"])
        XCTAssertNil(grants[2])
        XCTAssert(scheduler.latestGrant === grants[1])
        XCTAssertEqual(scheduler.pending.map(\.identifier), ["unknown"])
    }
}
