import Foundation

/// Trains at night, in the background, whenever the system grants time.
///
/// On iPhone and iPad this is a `BGProcessingTask`: call `register()` while the app launches, and `submit()` when there
/// is something to learn. From then on it asks for the next grant by itself, at the time that the last one's ending
/// suggests, until training fails with an error that only the app can do something about.
///
/// ```swift
/// let background = BackgroundPersonalization(
///     schedule: BackgroundSchedule(identifier: "com.example.notes.personalize"),
///     platform: platform
/// ) {
///     let model = try await BaseModel(contentsOf: modelURL)
///     let store = try await AdapterStore(at: folder, key: try KeychainKey().loadOrCreate())
///     return try await PersonalizationSession(model: model, store: store)
/// }
/// background.register()
/// ```
public final class BackgroundPersonalization: Sendable {
    /// When tasks are asked for.
    public let schedule: BackgroundSchedule

    private let platform: any Platform
    private let rules: NightRules
    private let onProgress: (@Sendable (TrainingProgress) -> Void)?
    private let onEnd: (@Sendable (BackgroundEnding) -> Void)?
    private let open: @Sendable () async throws -> PersonalizationSession
    private let current = Locked<PersonalizationSession?>(nil)

    /// Background training for an app.
    ///
    /// - Parameters:
    ///   - schedule: When tasks are asked for.
    ///   - platform: The device's state.
    ///   - rules: When a night may train, and how hard. Grants are asked for within their window.
    ///   - onProgress: Called as in ``PersonalizationSession/runNight(on:rules:grant:isLastGrant:onProgress:)``.
    ///   - onEnd: Called when a grant is over, just before the system is told so.
    ///   - openSession: Opens the session, in each grant anew. If the app has it open at that time, it returns that one.
    public init(
        schedule: BackgroundSchedule, platform: any Platform, rules: NightRules = .atNight,
        onProgress: (@Sendable (TrainingProgress) -> Void)? = nil,
        onEnd: (@Sendable (BackgroundEnding) -> Void)? = nil,
        openSession: @escaping @Sendable () async throws -> PersonalizationSession
    ) {
        self.schedule = schedule
        self.platform = platform
        self.rules = rules
        self.onProgress = onProgress
        self.onEnd = onEnd
        open = openSession
    }

    /// Tells a night that waits to look at the device again: a charger was connected, for example.
    public func deviceChanged() {
        current.withLock { $0 }?.deviceChanged()
    }

    /// Uses one grant. `submit` asks the system for the next one.
    func run(in grant: any BackgroundGrant, submit: @escaping @Sendable (BackgroundRequest) -> Void) async {
        // First of all, for the case that the system kills the app in this grant; the better one takes its place.
        if let request = schedule.request(after: .expired, rules: rules) {
            submit(request)
        }
        let run = BackgroundRun(grant: grant) { [schedule, rules, onEnd] ending in
            if let request = schedule.request(after: ending, rules: rules) {
                submit(request)
            }
            onEnd?(ending)
        }
        await run.run { [self] in
            let session = try await open()
            // Held only while it works: one that a grant's end kept from working is closed with this closure.
            return { [self] in
                current.withLock { $0 = session }
                defer { current.withLock { $0 = nil } }
                return try await night(of: session)
            }
        }
    }

    /// A night, given up when it waits for something that takes longer than a grant: the system may have better use for
    /// the time, and the next request can say when to try again.
    private func night(of session: PersonalizationSession) async throws -> SliceOutcome {
        let givenUpFor = Locked<Waiting?>(nil)
        let outcome = try await session.runNight(on: platform, rules: rules) { [onProgress] progress in
            onProgress?(progress)
            if progress.phase == .waiting, let waiting = progress.waiting, waiting.kind.outlastsGrant {
                givenUpFor.withLock { $0 = waiting }
                session.stop()
            }
        }
        if case .paused(.stopped) = outcome, let waiting = givenUpFor.withLock({ $0 }) {
            return .paused(.policy(waiting))
        }
        return outcome
    }
}

extension Waiting.Kind {
    /// Whether this wait is longer than a grant of background time.
    var outlastsGrant: Bool {
        switch self {
        case .outsideWindow, .minutesUsedUp, .energyUsedUp, .flashUsedUp, .tooWarm, .coolingDown: true
        case .notCharging, .lowPowerMode, .batteryLow, .inUse, .justUsed, .storageLow, .memoryLow, .unreadable: false
        }
    }
}
