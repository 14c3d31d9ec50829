/// One grant from its beginning to its completion.
///
/// It is completed exactly once. An expiration while the work runs stops it, and the grant is completed when all is
/// saved. An expiration while the app still opens its files completes the grant at once: nothing has to be saved.
final class BackgroundRun: Sendable {
    typealias Work = @Sendable () async throws -> SliceOutcome

    private enum Phase {
        case opening(Task<SliceOutcome, any Error>?)
        case running(Task<SliceOutcome, any Error>)
        case stopping
        case over
    }

    private let grant: any BackgroundGrant
    private let beforeCompletion: @Sendable (BackgroundEnding) -> Void
    private let phase = Locked(Phase.opening(nil))

    /// `beforeCompletion` is called once, just before the grant is completed: afterwards the system may suspend the app.
    init(grant: any BackgroundGrant, beforeCompletion: @escaping @Sendable (BackgroundEnding) -> Void) {
        self.grant = grant
        self.beforeCompletion = beforeCompletion
    }

    /// Opens what is needed and does the work.
    func run(opening open: @escaping @Sendable () async throws -> Work) async {
        grant.onExpiration { [self] in giveBack() }
        let task: Task<SliceOutcome, any Error>? = phase.withLock { phase in
            guard case .opening = phase else { return nil }
            let task = Task { [self] in
                let work = try await open()
                try begin()
                return try await work()
            }
            phase = .opening(task)
            return task
        }
        do {
            guard let task else { return }
            end(with: .ended(try await task.value))
        } catch {
            end(with: .failed(error as? NightgraftError))
        }
    }

    /// Ends the grant before the work is done: what runs is cancelled, and completes it when all is saved.
    func giveBack() {
        let (task, wasOpening): (Task<SliceOutcome, any Error>?, Bool) = phase.withLock { phase in
            switch phase {
            case .opening(let task):
                phase = .over
                return (task, true)
            case .running(let task):
                phase = .stopping
                return (task, false)
            case .stopping, .over:
                return (nil, false)
            }
        }
        task?.cancel()
        if wasOpening {
            complete(after: .expired)
        }
    }

    /// All is open. Throws if the grant is over already.
    private func begin() throws {
        try phase.withLock { phase in
            guard case .opening(let task?) = phase else { throw CancellationError() }
            phase = .running(task)
        }
    }

    private func end(with ending: BackgroundEnding) {
        let told: BackgroundEnding? = phase.withLock { phase in
            defer { phase = .over }
            switch (phase, ending) {
            case (.over, _): return nil
            // Work that was finished in the moment in which it should have stopped has finished.
            case (.stopping, .ended(.paused(.stopped))): return .expired
            default: return ending
            }
        }
        if let told {
            complete(after: told)
        }
    }

    private func complete(after ending: BackgroundEnding) {
        beforeCompletion(ending)
        grant.complete(success: ending.isSuccess)
    }
}

extension BackgroundEnding {
    /// What the system is told. It may give less time to an app whose tasks do not succeed.
    fileprivate var isSuccess: Bool {
        switch self {
        case .ended, .expired: true
        case .failed: false
        }
    }
}
