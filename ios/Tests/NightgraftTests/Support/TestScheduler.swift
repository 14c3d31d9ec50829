import Foundation

@testable import Nightgraft

/// The system's scheduler as a test plays it: at most one request, as there is one identifier.
final class TestScheduler: BackgroundScheduler {
    private struct State {
        var pending: BackgroundRequest?
        var submitted = 0
        var refusal: (any Error)?
        var launch: (@Sendable (any BackgroundGrant) -> Void)?
    }

    private let state = Locked(State())

    /// What is asked for.
    var pending: BackgroundRequest? {
        state.withLock { $0.pending }
    }

    /// How many requests were taken.
    var submitted: Int {
        state.withLock { $0.submitted }
    }

    /// From now on every request is refused with this; taken again with nil.
    func refuse(with error: (any Error)?) {
        state.withLock { $0.refusal = error }
    }

    /// Starts the task that is registered.
    func launch(_ grant: any BackgroundGrant) {
        state.withLock { state in
            state.pending = nil
            return state.launch
        }?(grant)
    }

    func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool {
        state.withLock { state in
            defer { state.launch = launch }
            return state.launch == nil
        }
    }

    func submit(_ request: BackgroundRequest) throws {
        try state.withLock { state in
            if let refusal = state.refusal { throw refusal }
            state.pending = request
            state.submitted += 1
        }
    }

    func cancel(_ identifier: String) {
        state.withLock { $0.pending = nil }
    }
}

/// A grant that a test takes back.
final class TestGrant: BackgroundGrant {
    private let handler = Locked<(@Sendable () -> Void)?>(nil)
    private let completed = Recorder<Bool>()
    private let done = Latch()

    var completions: [Bool] {
        completed.values
    }

    func expire() {
        handler.withLock { $0 }?()
    }

    /// Waits until the app has completed it.
    func completion() async {
        await done.wait()
    }

    func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        self.handler.withLock { $0 = handler }
    }

    func complete(success: Bool) {
        completed.add(success)
        Task { await done.open() }
    }
}
