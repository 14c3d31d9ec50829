import Foundation
import Nightgraft

/// A clock that stands still until a test moves it.
public final class TestClock: BackgroundClock {
    /// Half past eleven in the evening, in Greenwich, on 23 November 2026.
    public static let start = Date(timeIntervalSince1970: 1_795_476_600)

    private struct Countdown {
        let end: Date
        let action: @Sendable () -> Void
    }

    private struct State {
        var now: Date
        var countdowns: [Int: Countdown] = [:]
        var started = 0
    }

    /// The calendar of the device's owner.
    public let calendar: Calendar
    private let state: Locked<State>

    /// A clock that shows a time.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - timeZone: Where the device is.
    public init(_ now: Date = TestClock.start, timeZone: TimeZone = .gmt) {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = timeZone
        self.calendar = calendar
        state = Locked(State(now: now))
    }

    /// The time that it shows.
    public var now: Date {
        state.withLock { $0.now }
    }

    /// Moves the clock. Countdowns end in their order, each at its own time.
    ///
    /// - Parameter duration: How far.
    public func advance(by duration: Duration) {
        let end = now + duration.inSeconds
        while let due = nextCountdown(until: end) {
            due()
        }
        state.withLock { $0.now = max($0.now, end) }
    }

    /// Counts down in the clock's own time.
    ///
    /// - Parameters:
    ///   - delay: How long.
    ///   - action: What is called then, on the thread that moves the clock.
    /// - Returns: What stops the countdown.
    public func countDown(_ delay: Duration, then action: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        state.withLock { state in
            let number = state.started
            state.started += 1
            state.countdowns[number] = Countdown(end: state.now + delay.inSeconds, action: action)
            return { [weak self] in self?.state.withLock { $0.countdowns[number] = nil } }
        }
    }

    /// Moves the clock to the end of the next countdown, and takes it out.
    private func nextCountdown(until end: Date) -> (@Sendable () -> Void)? {
        state.withLock { state in
            let next = state.countdowns.min { ($0.value.end, $0.key) < ($1.value.end, $1.key) }
            guard let next, next.value.end <= end else { return nil }
            state.now = max(state.now, next.value.end)
            state.countdowns[next.key] = nil
            return next.value.action
        }
    }
}
