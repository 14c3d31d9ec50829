/// Watches that a grant is used, and gives it back when it is not: at once where the night waits for something that takes
/// longer than a grant, and in any case after two minutes without training.
///
/// The system can then use the time better, and the next request says when to try again.
final class GrantWatch: Sendable {
    /// The longest time for which a grant is held without training.
    static let patience = Duration.seconds(120)

    private struct State {
        var waiting: Waiting?
        var stopCountdown: (@Sendable () -> Void)?
        /// Counts the countdowns: one that was stopped too late changes nothing.
        var countdowns = 0
        var isGivenUp = false
    }

    private let clock: any BackgroundClock
    private let giveBack: @Sendable () -> Void
    private let state = Locked(State())

    /// Begins to watch: the time in which the app opens its files counts. `giveBack` is called once at most.
    init(clock: any BackgroundClock, giveBack: @escaping @Sendable () -> Void) {
        self.clock = clock
        self.giveBack = giveBack
        idle(waitingFor: nil)
    }

    /// What the grant was given back for; nil if it was not, or if the night had not begun.
    var givenUpFor: Waiting? {
        state.withLock { $0.isGivenUp ? $0.waiting : nil }
    }

    /// Takes in how the night goes.
    func observe(_ progress: TrainingProgress) {
        switch progress.phase {
        case .waiting: idle(waitingFor: progress.waiting)
        case .preparing, .training, .judging, .paused, .finished, .nothingToDo: end()
        }
    }

    /// Stops to watch, until the night waits again.
    func end() {
        state.withLock { state in
            state.stopCountdown?()
            state.stopCountdown = nil
            state.countdowns += 1
        }
    }

    private func idle(waitingFor waiting: Waiting?) {
        let number: Int? = state.withLock { state in
            if !state.isGivenUp {
                state.waiting = waiting
            }
            if state.stopCountdown == nil {
                let number = state.countdowns
                state.stopCountdown = clock.countDown(Self.patience) { [weak self] in self?.giveUp(countdown: number) }
            }
            return waiting?.kind.outlastsGrant == true ? state.countdowns : nil
        }
        if let number {
            giveUp(countdown: number)
        }
    }

    private func giveUp(countdown number: Int) {
        let isFirst = state.withLock { state in
            guard state.countdowns == number, !state.isGivenUp else { return false }
            state.isGivenUp = true
            return true
        }
        if isFirst {
            giveBack()
        }
    }
}

extension Waiting.Kind {
    /// Whether this wait is longer than a grant of background time.
    fileprivate var outlastsGrant: Bool {
        switch self {
        case .outsideWindow, .minutesUsedUp, .energyUsedUp, .flashUsedUp, .tooWarm, .coolingDown, .lowPowerMode,
            .batteryLow, .storageLow:
            true
        case .notCharging, .inUse, .justUsed, .memoryLow, .unreadable: false
        }
    }
}
