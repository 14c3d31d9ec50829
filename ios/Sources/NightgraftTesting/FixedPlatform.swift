import Foundation
import Nightgraft

/// A device that a test plays: it stays as it is until the test changes it.
///
/// Simulators have no battery, and `ApplePlatform` cannot be read there: an app that is tried in one takes this in its place.
public final class FixedPlatform: Platform {
    private struct Device {
        var state: DeviceState
        var error: (any Error)?
        var reads = 0
    }

    private let device: Locked<Device>
    private let clock: (any BackgroundClock)?
    private let observers = Observers()

    /// A device in a state.
    ///
    /// - Parameters:
    ///   - state: The state.
    ///   - clock: Whose time it shows; `nil` for that of the state.
    public init(_ state: DeviceState = .ready, clock: (any BackgroundClock)? = nil) {
        device = Locked(Device(state: state))
        self.clock = clock
    }

    /// How often the state was read.
    public var reads: Int {
        device.withLock { $0.reads }
    }

    /// Changes the state. A night that waits looks at it at once.
    ///
    /// - Parameter body: What changes it.
    public func change(_ body: (inout DeviceState) -> Void) {
        device.withLock { body(&$0.state) }
        observers.notify()
    }

    /// From now on the state cannot be read.
    ///
    /// - Parameter error: What is thrown instead; `nil` ends that.
    public func fail(with error: (any Error)?) {
        device.withLock { $0.error = error }
    }

    /// Reads the state.
    ///
    /// - Returns: The state now.
    /// - Throws: The error of ``fail(with:)``.
    public func state() throws -> DeviceState {
        var state = try device.withLock { device in
            device.reads += 1
            if let error = device.error { throw error }
            return device.state
        }
        if let clock {
            state.unixSeconds = Int(clock.now.timeIntervalSince1970.rounded(.down))
            state.utcOffsetSeconds = clock.calendar.timeZone.secondsFromGMT(for: clock.now)
        }
        return state
    }

    /// Has `onChange` called at each ``change(_:)``.
    ///
    /// - Parameter onChange: What is called, on the thread that changes the state.
    /// - Returns: What ends that.
    public func observe(_ onChange: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        observers.add(onChange)
    }
}

extension DeviceState {
    /// A phone that may train: on its charger, cool, in nobody's hand, at half past eleven in the evening.
    public static var ready: DeviceState {
        DeviceState(
            charging: true, battery: 0.9, thermal: .nominal, lowPowerMode: false, idle: true,
            memoryAvailable: 4 << 30, storageFree: 64 << 30, unixSeconds: Int(TestClock.start.timeIntervalSince1970),
            utcOffsetSeconds: 0)
    }
}
