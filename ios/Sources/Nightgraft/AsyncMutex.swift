/// Lets one task in at a time, in the order in which they came. A task that is cancelled while it waits gives up its
/// place.
///
/// The Rust side queues as well. But its `stop` means whatever runs; with the queue on this side, a cancelled task
/// stops its own work and never another's.
final class AsyncMutex: Sendable {
    private struct State {
        var occupied = false
        var nextTicket: UInt64 = 0
        var waiting: [(ticket: UInt64, entered: CheckedContinuation<Bool, Never>)] = []
    }

    private let state = Locked(State())

    /// Runs `work` when it is this task's turn.
    ///
    /// `stop` is called at once, from any thread, when the task is cancelled while `work` runs. `work` gets a flag that
    /// says so too: a stop that comes just before the work begins may be lost, and must be repeated while it runs.
    /// Returns nil without having called `work` if the task was cancelled before its turn.
    func withLock<Value>(
        stop: @escaping @Sendable () -> Void, work: (_ stopped: Flag) async throws -> Value
    ) async rethrows -> Value? {
        guard await enter() else { return nil }
        defer { leave() }
        let stopped = Flag()
        return try await withTaskCancellationHandler {
            // Cancelled between entering and here: the handler has been called by now.
            stopped.isRaised ? nil : try await work(stopped)
        } onCancel: {
            stopped.raise()
            stop()
        }
    }

    private func enter() async -> Bool {
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        let entered = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if Task.isCancelled {
                        return false
                    }
                    if !state.occupied {
                        state.occupied = true
                        return true
                    }
                    state.waiting.append((ticket, continuation))
                    return nil
                }
                if let answer {
                    continuation.resume(returning: answer)
                }
            }
        } onCancel: {
            let given = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard let place = state.waiting.firstIndex(where: { $0.ticket == ticket }) else { return nil }
                return state.waiting.remove(at: place).entered
            }
            given?.resume(returning: false)
        }
        return entered
    }

    private func leave() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.waiting.isEmpty else {
                state.occupied = false
                return nil
            }
            return state.waiting.removeFirst().entered
        }
        next?.resume(returning: true)
    }
}
