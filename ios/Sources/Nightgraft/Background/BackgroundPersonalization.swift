import Foundation

/// Trains at night, in the background, whenever the system grants time.
///
/// On iPhone and iPad this is a `BGProcessingTask`: call ``register()`` while the app launches, and ``submit()`` when there
/// is something to learn. From then on it asks for the next grant by itself, at the time that the last one's ending
/// suggests, until training fails with an error that only the app can do something about.
///
/// ```swift
/// let background = BackgroundPersonalization(
///     schedule: BackgroundSchedule(identifier: "com.example.notes.personalize"),
///     platform: platform
/// ) {
///     let model = try await BaseModel(contentsOf: modelURL)
///     let store = try await AdapterStore(at: ProtectedFolder.prepare(folder), keyIn: KeychainKey())
///     return try await PersonalizationSession(model: model, store: store)
/// }
/// background.register()
/// ```
public final class BackgroundPersonalization: Sendable {
    /// When tasks are asked for.
    public let schedule: BackgroundSchedule

    private struct State {
        /// What works now.
        var work: (any GrantedWork)?
        /// The app wants no more grants.
        var isCancelled = false
    }

    private let platform: any Platform
    private let rules: NightRules
    private let scheduler: any BackgroundScheduler
    private let clock: any BackgroundClock
    private let onProgress: (@Sendable (TrainingProgress) -> Void)?
    private let onEnd: (@Sendable (BackgroundReport) -> Void)?
    private let open: @Sendable () async throws -> any GrantedWork
    private let state = Locked(State())

    /// Background training for an app.
    ///
    /// - Parameters:
    ///   - schedule: When tasks are asked for.
    ///   - platform: The device's state.
    ///   - rules: When a night may train, and how hard. Grants are asked for within their window.
    ///   - scheduler: Who grants the time; `nil` for the system.
    ///   - clock: The time that requests are made by; `nil` for the system's.
    ///   - onProgress: Called as in ``PersonalizationSession/runNight(on:rules:grant:isLastGrant:onProgress:)``.
    ///   - onEnd: Called when a grant is over, just before the system is told so.
    ///   - openSession: Opens the session, in each grant anew. If the app has it open at that time, it returns that one.
    public convenience init(
        schedule: BackgroundSchedule, platform: any Platform, rules: NightRules = .atNight,
        scheduler: (any BackgroundScheduler)? = nil, clock: (any BackgroundClock)? = nil,
        onProgress: (@Sendable (TrainingProgress) -> Void)? = nil,
        onEnd: (@Sendable (BackgroundReport) -> Void)? = nil,
        openSession: @escaping @Sendable () async throws -> PersonalizationSession
    ) {
        self.init(
            schedule: schedule, platform: platform, rules: rules, scheduler: scheduler ?? SystemBackgroundScheduler(),
            clock: clock ?? SystemClock(), onProgress: onProgress, onEnd: onEnd, open: { try await openSession() })
    }

    init(
        schedule: BackgroundSchedule, platform: any Platform, rules: NightRules = .atNight,
        scheduler: any BackgroundScheduler, clock: any BackgroundClock,
        onProgress: (@Sendable (TrainingProgress) -> Void)? = nil, onEnd: (@Sendable (BackgroundReport) -> Void)? = nil,
        open: @escaping @Sendable () async throws -> any GrantedWork
    ) {
        self.schedule = schedule
        self.platform = platform
        self.rules = rules
        self.scheduler = scheduler
        self.clock = clock
        self.onProgress = onProgress
        self.onEnd = onEnd
        self.open = open
    }

    /// Tells the system which task this app runs in the background. Call it before the app has finished launching.
    ///
    /// - Returns: Whether the system accepts it: `Info.plist` must list the identifier, and each is registered once.
    @discardableResult
    public func register() -> Bool {
        scheduler.register(schedule.identifier) { grant in
            Task { await self.run(in: grant) }
        }
    }

    /// Asks the system for a grant; one that was asked for before is replaced. Call it when there is something new to
    /// learn.
    ///
    /// - Throws: `BGTaskScheduler.Error`: background work is switched off, or the identifier is not in `Info.plist`.
    public func submit() throws {
        guard let request = request(after: nil) else { return }
        try state.withLock { state in
            state.isCancelled = false
            try scheduler.submit(request)
        }
    }

    /// Takes back what was asked for. A night that runs goes on to the end of its grant, and asks for no other.
    public func cancel() {
        state.withLock { state in
            state.isCancelled = true
            scheduler.cancel(schedule.identifier)
        }
    }

    /// Tells a night that waits to look at the device again: a charger was connected, for example.
    public func deviceChanged() {
        state.withLock { $0.work }?.deviceChanged()
    }

    /// Uses one grant.
    func run(in grant: any BackgroundGrant) async {
        // First of all, for the case that the system kills the app in this grant; the better one takes its place.
        let first = ask(for: request(after: .expired))
        let run = BackgroundRun(grant: grant) { [self] ending in
            let next = ask(for: request(after: ending), unlessRefused: first)
            onEnd?(BackgroundReport(ending: ending, next: next))
        }
        let watch = GrantWatch(clock: clock) { run.giveBack() }
        await run.run { [self] in
            let work = try await open()
            // Held only while it works: one that a grant's end kept from working is closed with this closure.
            return { [self] in
                state.withLock { $0.work = work }
                defer { state.withLock { $0.work = nil } }
                return try await night(of: work, watchedBy: watch)
            }
        }
        watch.end()
    }

    private func request(after ending: BackgroundEnding?) -> BackgroundRequest? {
        schedule.request(after: ending, rules: rules, now: clock.now, calendar: clock.calendar)
    }

    /// Asks for the next grant. Where none makes sense, none that was asked for before may be left; where the system
    /// refuses, what it has taken before stands.
    private func ask(
        for request: BackgroundRequest?, unlessRefused standing: NextBackgroundTask = .notRequested
    ) -> NextBackgroundTask {
        state.withLock { state in
            guard let request, !state.isCancelled else {
                scheduler.cancel(schedule.identifier)
                return .notRequested
            }
            do {
                try scheduler.submit(request)
                return .requested(request)
            } catch {
                if case .requested = standing { return standing }
                return .refused(error)
            }
        }
    }

    private func night(of work: any GrantedWork, watchedBy watch: GrantWatch) async throws -> SliceOutcome {
        let outcome = try await work.runGranted(on: platform, rules: rules) { [onProgress] progress in
            watch.observe(progress)
            onProgress?(progress)
        }
        if case .paused(.stopped) = outcome, let waiting = watch.givenUpFor {
            return .paused(.policy(waiting))
        }
        return outcome
    }
}

/// What a grant is used for.
protocol GrantedWork: Sendable {
    /// Trains as the rules say, until the session is over or the task is cancelled.
    func runGranted(
        on platform: any Platform, rules: NightRules, onProgress: @escaping @Sendable (TrainingProgress) -> Void
    ) async throws -> SliceOutcome
    /// Has the device looked at again.
    func deviceChanged()
}
