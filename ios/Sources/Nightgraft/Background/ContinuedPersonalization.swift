import Foundation

/// Trains at once, because the user asked for it, and goes on when they leave the app.
///
/// From iOS 26 on this is a `BGContinuedProcessingTask`: the system shows its progress, and the user may end it there.
/// Where the system has none to give, training runs as long as the app is in front, and stops, saved, when it is not.
///
/// ```swift
/// let continued = ContinuedPersonalization(
///     identifier: "com.example.notes.train", title: "Learning your notes", subtitle: "On this device")
/// var rules = NightRules()
/// (rules.idleOnly, rules.chargingOnly) = (false, false)
/// let outcome = try await continued.train(session, on: platform, rules: rules)
/// ```
public struct ContinuedPersonalization: Sendable {
    /// What the tasks' identifiers begin with. It begins with the app's own, and `Info.plist` lists it with `.*` behind it
    /// under `BGTaskSchedulerPermittedIdentifiers`.
    public let identifier: String
    /// What the system shows as the work's name.
    public let title: String
    /// What the system shows below it.
    public let subtitle: String

    private let scheduler: any ContinuedScheduler

    /// Training that the user begins.
    ///
    /// - Parameters:
    ///   - identifier: What the tasks' identifiers begin with.
    ///   - title: What the system shows as the work's name.
    ///   - subtitle: What the system shows below it.
    public init(identifier: String, title: String, subtitle: String) {
        self.init(
            identifier: identifier, title: title, subtitle: subtitle, scheduler: SystemContinuedScheduler())
    }

    init(identifier: String, title: String, subtitle: String, scheduler: any ContinuedScheduler) {
        self.identifier = identifier
        self.title = title
        self.subtitle = subtitle
        self.scheduler = scheduler
    }

    /// Trains until the session is over, or it is stopped. To be called while the app is in front.
    ///
    /// - Parameters:
    ///   - session: The session. What else it does is ended, saved.
    ///   - platform: The device's state.
    ///   - rules: When it may train, and how hard. ``NightRules/idleOnly`` would keep it from training while the app is in
    ///     front.
    ///   - onProgress: Called as in ``PersonalizationSession/run(for:onProgress:)``.
    /// - Returns: How it ended: `.paused(.stopped)` also if the user or the system ended it.
    /// - Throws: ``NightgraftError``, or what `onProgress` or the platform throws.
    @discardableResult
    public func train(
        _ session: PersonalizationSession, on platform: any Platform, rules: NightRules,
        onProgress: (@Sendable (TrainingProgress) throws -> Void)? = nil
    ) async throws -> SliceOutcome {
        let held = HeldGrant()
        let work = Task {
            try await session.runContinued(on: platform, rules: rules, goesOn: { held.isHeld }) { progress in
                held.show(progress.fractionCompleted)
                try onProgress?(progress)
            }
        }
        let request = ContinuedRequest(
            identifier: "\(identifier).\(UUID().uuidString)", title: title, subtitle: subtitle)
        // A refusal changes nothing as long as the app is in front.
        try? scheduler.start(request) { grant in
            held.hold(grant) { work.cancel() }
        }
        do {
            let outcome = try await withTaskCancellationHandler {
                try await work.value
            } onCancel: {
                work.cancel()
            }
            held.end(success: true)
            return outcome
        } catch {
            held.end(success: false)
            throw error
        }
    }
}

/// The grant of one training, from the moment in which the system gives it.
private final class HeldGrant: Sendable {
    private enum State {
        case none
        case held(any ContinuedGrant)
        /// The system wants it back; it is completed when all is saved.
        case expired(any ContinuedGrant)
        case over
    }

    private let state = Locked(State.none)

    var isHeld: Bool {
        state.withLock { if case .held = $0 { true } else { false } }
    }

    func hold(_ grant: any ContinuedGrant, onExpiration: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            guard case .none = state else { return true }
            state = .held(grant)
            return false
        }
        if isLate {
            return grant.complete(success: true)
        }
        grant.onExpiration { [weak self] in
            self?.state.withLock { state in
                if case .held(let grant) = state { state = .expired(grant) }
            }
            onExpiration()
        }
    }

    func show(_ fraction: Double) {
        if case .held(let grant) = state.withLock({ $0 }) {
            grant.show(fraction)
        }
    }

    func end(success: Bool) {
        let last = state.withLock { state in
            defer { state = .over }
            return state
        }
        switch last {
        case .held(let grant): grant.complete(success: success)
        case .expired(let grant): grant.complete(success: false)
        case .none, .over: break
        }
    }
}
