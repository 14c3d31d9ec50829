import Nightgraft

/// Background tasks that begin when a test says so, or somebody who tries the app in the Simulator, where the system starts
/// none.
///
/// ```swift
/// let scheduler = OnDemandScheduler()
/// let background = BackgroundPersonalization(
///     schedule: BackgroundSchedule(identifier: "night"), platform: FixedPlatform(), scheduler: scheduler
/// ) { session }
/// background.register()
/// try background.submit()
/// await scheduler.grant()?.completion()
/// ```
public final class OnDemandScheduler: BackgroundScheduler {
    private struct State {
        var requests: [String: BackgroundRequest] = [:]
        var launches: [String: @Sendable (any BackgroundGrant) -> Void] = [:]
        var submissions = 0
        var refusal: (any Error)?
        var latest: OnDemandGrant?
    }

    private let state = Locked(State())

    /// A scheduler that nobody has asked for anything.
    public init() {}

    /// What is asked for, the earliest first.
    public var pending: [BackgroundRequest] {
        let requests = state.withLock { Array($0.requests.values) }
        return requests.sorted { ($0.earliestBegin, $0.identifier) < ($1.earliestBegin, $1.identifier) }
    }

    /// How many requests were taken.
    public var submissions: Int {
        state.withLock { $0.submissions }
    }

    /// The grant that was given last.
    public var latestGrant: OnDemandGrant? {
        state.withLock { $0.latest }
    }

    /// From now on refuses every request.
    ///
    /// - Parameter error: What is thrown; `nil` ends that.
    public func refuse(with error: (any Error)?) {
        state.withLock { $0.refusal = error }
    }

    /// Grants the earliest request now, whatever time it names.
    ///
    /// - Returns: The grant, in which the app works from here on; `nil` if nothing that is registered is asked for.
    @discardableResult
    public func grant() -> OnDemandGrant? {
        let grant = OnDemandGrant()
        for request in pending {
            guard let launch = take(request, for: grant) else { continue }
            launch(grant)
            return grant
        }
        return nil
    }

    /// Keeps what uses the grants of an identifier.
    ///
    /// - Parameters:
    ///   - identifier: The task's identifier.
    ///   - launch: What uses a grant.
    /// - Returns: False if it is there already.
    public func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool {
        state.withLock { state in
            guard state.launches[identifier] == nil else { return false }
            state.launches[identifier] = launch
            return true
        }
    }

    /// Takes a request in the place of one of the same identifier.
    ///
    /// - Parameter request: The request.
    /// - Throws: The error of ``refuse(with:)``.
    public func submit(_ request: BackgroundRequest) throws {
        try state.withLock { state in
            if let refusal = state.refusal { throw refusal }
            state.requests[request.identifier] = request
            state.submissions += 1
        }
    }

    /// Forgets a request.
    ///
    /// - Parameter identifier: Its identifier.
    public func cancel(_ identifier: String) {
        state.withLock { $0.requests[identifier] = nil }
    }

    private func take(
        _ request: BackgroundRequest, for grant: OnDemandGrant
    ) -> (@Sendable (any BackgroundGrant) -> Void)? {
        state.withLock { state in
            guard let launch = state.launches[request.identifier] else { return nil }
            state.requests[request.identifier] = nil
            state.latest = grant
            return launch
        }
    }
}

/// A grant of background time that its giver takes back when it likes.
public final class OnDemandGrant: BackgroundGrant {
    private struct State {
        var onExpiration: (@Sendable () -> Void)?
        var completions: [Bool] = []
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Locked(State())

    /// A grant that begins now.
    public init() {}

    /// Each success that the app has told; an app tells it once.
    public var completions: [Bool] {
        state.withLock { $0.completions }
    }

    /// Takes the grant back.
    public func expire() {
        state.withLock { $0.onExpiration }?()
    }

    /// Waits until the app has completed it.
    public func completion() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                guard state.completions.isEmpty else { return true }
                state.waiting.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    /// Keeps what is called when it is taken back.
    ///
    /// - Parameter handler: What is called.
    public func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        state.withLock { $0.onExpiration = handler }
    }

    /// Keeps that the app is done.
    ///
    /// - Parameter success: Whether its work came as far as it could.
    public func complete(success: Bool) {
        let waiting = state.withLock { state in
            state.completions.append(success)
            defer { state.waiting = [] }
            return state.waiting
        }
        waiting.forEach { $0.resume() }
    }
}
