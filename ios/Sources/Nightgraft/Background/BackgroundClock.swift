import Foundation

/// The time as background work sees it. Tests have one that they move: `TestClock` of `NightgraftTesting`.
public protocol BackgroundClock: Sendable {
    /// The time now.
    var now: Date { get }
    /// The calendar of the device's owner.
    var calendar: Calendar { get }
    /// Calls `action` once after `delay`, unless what is returned is called before.
    ///
    /// - Parameters:
    ///   - delay: How long it counts down.
    ///   - action: What is called then, from any thread.
    /// - Returns: What stops the countdown.
    func countDown(_ delay: Duration, then action: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}

/// The system's time, which goes on while the app is suspended.
struct SystemClock: BackgroundClock {
    var now: Date { Date() }
    var calendar: Calendar { .current }

    func countDown(_ delay: Duration, then action: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let task = Task {
            try await Task.sleep(for: delay, clock: .continuous)
            action()
        }
        return { task.cancel() }
    }
}
