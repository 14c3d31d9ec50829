/// Lets one task in at a time, in the order in which they came. A task that is cancelled while it waits gives up its
/// place, and one that preempts ends all that were there before it.
///
/// The Rust side queues as well. But its `stop` means whatever runs; with the queue on this side, a cancelled task
/// stops its own work and never another's.
final class AsyncMutex: Sendable {
    /// A task's work.
    private final class Entry: Sendable {
        /// Says that the work shall end.
        let stopped = Flag()
        private let stop: @Sendable () -> Void

        init(stop: @escaping @Sendable () -> Void) {
            self.stop = stop
        }

        func end() {
            stopped.raise()
            stop()
        }
    }

    private struct State {
        var inside: Entry?
        var waiting: [(entry: Entry, entered: CheckedContinuation<Bool, Never>)] = []
    }

    private let state = Locked(State())

    /// How many tasks wait for their turn.
    var waitingCount: Int {
        state.withLock { $0.waiting.count }
    }

    /// Runs `work` when it is this task's turn, and with `preempting` as soon as the task inside has ended, which is asked to;
    /// those that wait are sent away.
    ///
    /// `stop` is called at once, from any thread, when the task is cancelled or preempted while `work` runs; it must not
    /// use the mutex. `work` gets a flag that says so too: a stop that comes just before the work begins may be lost, and
    /// must be repeated while it runs. Returns nil without having called `work` if the task was cancelled or sent away
    /// before its turn.
    func withLock<Value>(
        preempting: Bool = false, stop: @escaping @Sendable () -> Void, work: (_ stopped: Flag) async throws -> Value
    ) async rethrows -> Value? {
        let entry = Entry(stop: stop)
        guard await enter(entry, preempting: preempting) else { return nil }
        defer { leave() }
        return try await withTaskCancellationHandler {
            // Cancelled or preempted between entering and here: the flag is raised by now.
            entry.stopped.isRaised ? nil : try await work(entry.stopped)
        } onCancel: {
            entry.end()
        }
    }

    private func enter(_ entry: Entry, preempting: Bool) async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                var sentAway: [CheckedContinuation<Bool, Never>] = []
                let answer: Bool? = state.withLock { state in
                    if Task.isCancelled {
                        return false
                    }
                    if preempting {
                        sentAway = state.waiting.map(\.entered)
                        state.waiting = []
                        // Here, where it cannot leave in between and the next one be stopped in its place.
                        state.inside?.end()
                    }
                    guard state.inside == nil else {
                        state.waiting.append((entry, continuation))
                        return nil
                    }
                    state.inside = entry
                    return true
                }
                for continuation in sentAway {
                    continuation.resume(returning: false)
                }
                if let answer {
                    continuation.resume(returning: answer)
                }
            }
        } onCancel: {
            let given = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard let place = state.waiting.firstIndex(where: { $0.entry === entry }) else { return nil }
                return state.waiting.remove(at: place).entered
            }
            given?.resume(returning: false)
        }
    }

    private func leave() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.waiting.isEmpty else {
                state.inside = nil
                return nil
            }
            let (entry, entered) = state.waiting.removeFirst()
            state.inside = entry
            return entered
        }
        next?.resume(returning: true)
    }
}
