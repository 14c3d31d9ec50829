import Foundation
import XCTest

@testable import Nightgraft

/// What the Apple part makes of its system's answers. The questions themselves are only asked on a device.
final class DeviceTests: TemporaryFolderTestCase {
    private let night = Date(timeIntervalSince1970: 1_795_476_600.9)

    private func reading() -> DeviceReading {
        DeviceReading(
            screen: ScreenReading(battery: .charging, batteryLevel: 0.5, inForeground: false), thermalLevel: 0,
            lowPowerMode: false, memoryFree: 1000, memoryHeld: 300, storageFree: 7000)
    }

    func testAReadingBecomesAState() throws {
        let zone = try XCTUnwrap(TimeZone(secondsFromGMT: -5400))
        let state = reading().state(now: night, timeZone: zone)
        let expected = DeviceState(
            charging: true, battery: 0.5, thermal: .nominal, lowPowerMode: false, idle: true, memoryAvailable: 1300,
            storageFree: 7000, unixSeconds: 1_795_476_600, utcOffsetSeconds: -5400)
        XCTAssertEqual(state, expected)
    }

    func testThermalLevels() {
        XCTAssertEqual((0...4).map(Thermal.init(systemLevel:)), [.nominal, .fair, .serious, .critical, .critical])
        XCTAssertEqual(Thermal(systemLevel: -1), .nominal)
        XCTAssertEqual(Thermal.allCases.sorted(), [.nominal, .fair, .serious, .critical])
    }

    func testAFullBatteryIsOnACharger() {
        var full = reading()
        full.screen.battery = .full
        XCTAssert(full.state(now: night, timeZone: .gmt).charging)
        full.screen.battery = .unplugged
        XCTAssertFalse(full.state(now: night, timeZone: .gmt).charging)
    }

    func testTheAppInFrontIsNotIdle() {
        var front = reading()
        front.screen.inForeground = true
        XCTAssertFalse(front.state(now: night, timeZone: .gmt).idle)
    }

    func testWhatCannotBeReadMakesANightWait() {
        var simulator = reading()
        simulator.screen.battery = .unknown
        simulator.screen.batteryLevel = 0.8
        simulator.storageFree = nil
        let state = simulator.state(now: night, timeZone: .gmt)
        XCTAssertEqual(state.battery, -1)
        XCTAssertFalse(state.charging)
        XCTAssertEqual(state.storageFree, 0)
    }

    func testMemoryDoesNotOverflow() {
        var large = reading()
        large.memoryFree = .max
        XCTAssertEqual(large.state(now: night, timeZone: .gmt).memoryAvailable, .max)
    }

    func testAProtectedFolderIsThisUsersAlone() throws {
        let made = try ProtectedFolder.prepare(folder.appendingPathComponent("one/two"))
        let attributes = try FileManager.default.attributesOfItem(atPath: made.path)
        XCTAssertEqual(attributes[.posixPermissions] as? Int, 0o700)
        try ProtectedFolder.prepare(made)
    }
}

final class DeviceMonitorTests: XCTestCase {
    @MainActor
    func testHeatIsToldToWhoHasReadItBefore() async {
        let device = TestDevice()
        let changes = Recorder<Bool>()
        let monitor = DeviceMonitor(source: device) { changes.add(true) }
        let nights = Recorder<Thermal>()
        let endObservation = monitor.observers.add { [weak monitor] in
            if let monitor { nights.add(monitor.state().thermal) }
        }
        device.warm(to: 2)
        XCTAssertEqual(changes.values, [true])
        XCTAssertEqual(nights.values, [.serious])
        endObservation()
        device.warm(to: 3)
        XCTAssertEqual(nights.values, [.serious])
        XCTAssertEqual(monitor.state().thermal, .critical)
    }

    @MainActor
    func testTheScreensSideIsReadWhenItChanges() async {
        let device = TestDevice()
        let monitor = DeviceMonitor(source: device, onChange: nil)
        XCTAssertFalse(monitor.state().charging)
        device.change(to: ScreenReading(battery: .full, batteryLevel: 1, inForeground: false))
        XCTAssert(monitor.state().charging)
        XCTAssert(monitor.state().idle)
    }

    @MainActor
    func testTheStorageIsAskedForOnceAMinute() async {
        let device = TestDevice()
        let time = Locked(ContinuousClock.now)
        let monitor = DeviceMonitor(source: device, now: { time.withLock { $0 } }, onChange: nil)
        // A night looks twice a second.
        for _ in 0..<(10 * 60 * 2) {
            XCTAssertEqual(monitor.state().storageFree, 7000)
            time.withLock { $0 += .milliseconds(500) }
        }
        XCTAssertEqual(device.storageReads, 10)
    }
}

/// A device as a test plays it, which tells of heat as `ProcessInfo` does.
private final class TestDevice: DeviceSource {
    private struct State {
        var screen = ScreenReading(battery: .unplugged, batteryLevel: 0.5, inForeground: true)
        var thermalLevel = 0
        var isThermalLevelRead = false
        var storageReads = 0
        var onChange: (@MainActor @Sendable () -> Void)?
        var tellsOfHeat = false
    }

    private let state = Locked(State())

    var storageReads: Int {
        state.withLock { $0.storageReads }
    }

    @MainActor
    func warm(to level: Int) {
        let onChange = state.withLock { state in
            state.thermalLevel = level
            return state.tellsOfHeat ? state.onChange : nil
        }
        onChange?()
    }

    @MainActor
    func change(to screen: ScreenReading) {
        state.withLock { $0.screen = screen }
        state.withLock { $0.onChange }?()
    }

    @MainActor
    func readScreen() -> ScreenReading {
        state.withLock { $0.screen }
    }

    func thermalLevel() -> Int {
        state.withLock { state in
            state.isThermalLevelRead = true
            return state.thermalLevel
        }
    }

    func isLowPowerModeEnabled() -> Bool {
        false
    }

    func memory() -> (free: Int, held: Int) {
        (1000, 300)
    }

    func storageFree() -> Int64? {
        state.withLock { state in
            state.storageReads += 1
            return 7000
        }
    }

    @MainActor
    func observe(_ onChange: @escaping @MainActor @Sendable () -> Void) {
        state.withLock { state in
            state.onChange = onChange
            state.tellsOfHeat = state.isThermalLevelRead
        }
    }
}
