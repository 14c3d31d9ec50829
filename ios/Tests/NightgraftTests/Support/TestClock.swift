import Foundation

@testable import Nightgraft

/// A clock that stands still; countdowns end when the test says so.
final class TestClock: BackgroundClock {
    let now = Date(timeIntervalSince1970: 1_795_476_600)
    let calendar = Calendar(identifier: .gregorian)

    private struct State {
        var started: [Duration] = []
        var running: [Int: @Sendable () -> Void] = [:]
    }

    private let state = Locked(State())

    /// The delays of all countdowns that were started.
    var started: [Duration] {
        state.withLock { $0.started }
    }

    /// What runs now.
    var running: [@Sendable () -> Void] {
        state.withLock { Array($0.running.values) }
    }

    func countDown(_ delay: Duration, then action: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        state.withLock { state in
            let number = state.started.count
            state.started.append(delay)
            state.running[number] = action
            return { [self] in self.state.withLock { $0.running[number] = nil } }
        }
    }

    /// Ends what runs.
    func fire() {
        for action in running {
            action()
        }
    }
}
