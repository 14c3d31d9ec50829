import Foundation

/// One grant from its beginning to its completion.
///
/// It is completed exactly once. An expiration while the work runs stops it, and the grant is completed when all is
/// saved. An expiration while the app still opens its files completes the grant at once: nothing has to be saved.
final class BackgroundRun: Sendable {
    typealias Work = @Sendable () async throws -> SliceOutcome

    private enum Phase {
        case opening
        case running(Task<SliceOutcome, any Error>)
        case stopping
        case over
    }

    private let grant: any BackgroundGrant
    private let beforeCompletion: @Sendable (BackgroundEnding) -> Void
    private let phase = Locked(Phase.opening)

    /// `beforeCompletion` is called once, just before the grant is completed: afterwards the system may suspend the app.
    init(grant: any BackgroundGrant, beforeCompletion: @escaping @Sendable (BackgroundEnding) -> Void) {
        self.grant = grant
        self.beforeCompletion = beforeCompletion
    }

    /// Opens what is needed and does the work. An expiration cancels its task.
    func run(opening open: @Sendable () async throws -> Work) async {
        grant.onExpiration { [self] in expire() }
        do {
            let work = try await open()
            guard let task = begin(work) else { return }
            end(with: .ended(try await task.value))
        } catch {
            end(with: .failed(error as? NightgraftError))
        }
    }

    /// Starts the work; nil if the grant is over already.
    private func begin(_ work: @escaping Work) -> Task<SliceOutcome, any Error>? {
        phase.withLock { phase in
            guard case .opening = phase else { return nil }
            let task = Task { try await work() }
            phase = .running(task)
            return task
        }
    }

    private func expire() {
        let task: Task<SliceOutcome, any Error>? = phase.withLock { phase in
            guard case .running(let task) = phase else { return nil }
            phase = .stopping
            return task
        }
        if let task {
            task.cancel()
        } else {
            end(with: .expired, unless: { if case .stopping = $0 { true } else { false } })
        }
    }

    private func end(with ending: BackgroundEnding, unless isNotYet: (Phase) -> Bool = { _ in false }) {
        let told: BackgroundEnding? = phase.withLock { phase in
            if case .over = phase { return nil }
            if isNotYet(phase) { return nil }
            defer { phase = .over }
            // Work that was finished in the moment in which it should have stopped has finished.
            if case .stopping = phase, case .ended(.paused) = ending { return .expired }
            return ending
        }
        guard let told else { return }
        beforeCompletion(told)
        grant.complete(success: told.isSuccess)
    }
}

extension BackgroundEnding {
    /// What the system is told. It may give less time to an app whose tasks do not succeed.
    var isSuccess: Bool {
        switch self {
        case .ended, .expired: true
        case .failed: false
        }
    }
}
