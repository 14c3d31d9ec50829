import Foundation
internal import NightgraftGenerated

/// Training on what is new in a store, in slices that may end at any moment.
///
/// A session belongs to a model and a store, and goes on where the last one stopped, in this process or in an earlier
/// one. Each slice trains for a while and saves. When the last step is done, the result is judged, and comes into use
/// if it passes. How often it was interrupted makes no difference to the result, to the last bit.
///
/// ```swift
/// let session = try await PersonalizationSession(model: model, store: store)
/// for try await progress in session.slice(for: .seconds(300)) {
///     print(progress.step, progress.totalSteps)
/// }
/// ```
///
/// A session may be used from several tasks: its slices then run one after another. A night does not wait for them: it ends
/// those that run or wait, saved. When the last reference to the session is gone, it is closed.
public final class PersonalizationSession: Sendable {
    private let handle: FFI.Session
    private let mutex = AsyncMutex()

    /// Opens the store's session, or begins one.
    ///
    /// - Parameters:
    ///   - model: The model to adapt.
    ///   - store: The examples, and where the result goes.
    ///   - settings: How to train.
    /// - Throws: ``NightgraftError/invalidModel(reason:)`` if the model cannot be trained,
    ///   ``NightgraftError/unsupported(reason:)`` for a setting that makes no sense. Whether it fits into the memory, and
    ///   whether a session with other settings is under way, shows when a slice runs.
    public init(
        model: BaseModel, store: AdapterStore, settings: SessionSettings = SessionSettings()
    ) async throws {
        let converted = try settings.ffi()
        handle = try await translating {
            try await FFI.Session.open(model: model.handle, store: store.handle, settings: converted)
        }
    }

    // MARK: What to learn

    /// Adds examples to the store. A session under way does not see them; the next one does.
    ///
    /// - Parameter examples: What to learn from.
    /// - Returns: The examples' numbers, in the same order.
    /// - Throws: ``NightgraftError``.
    @discardableResult
    public func add(_ examples: [Example]) async throws -> [StoredExample.ID] {
        let converted = examples.map(\.ffi)
        return try await translating { try await handle.addExamples(examples: converted) }
    }

    // MARK: Slices

    /// Trains until the session is over, the time is, or it is stopped.
    ///
    /// Cancelling the task stops the slice within a quarter of a second, saved; the outcome is then
    /// `.paused(.stopped)`. So do a night that begins on this session, and the app when it leaves the foreground. It learns
    /// from the examples that are there when the session's first slice begins.
    ///
    /// - Parameters:
    ///   - duration: The most time that it may take; `nil` for no limit.
    ///   - onProgress: Called at most five times a second, at every change of phase and at the end, from a thread of the
    ///     library. If it throws, the slice is stopped, saved, and the same error is thrown to the caller.
    /// - Returns: How it ended.
    /// - Throws: ``NightgraftError``, or what `onProgress` throws: ``NightgraftError/outOfMemoryBudget(needed:available:)``,
    ///   and ``NightgraftError/unsupported(reason:)`` if a session that was begun with other settings is under way.
    @discardableResult
    public func run(
        for duration: Duration? = nil, onProgress: (@Sendable (TrainingProgress) throws -> Void)? = nil
    ) async throws -> SliceOutcome {
        let seconds = duration?.inSeconds
        return try await untilBackground { [self] in
            try await pass(onProgress) { handle, listener in
                try await handle.runSlice(maxSeconds: seconds, listener: listener)
            }
        }
    }

    /// Starts a slice and tells how it goes, as an asynchronous sequence.
    ///
    /// - Parameter duration: The most time that it may take; `nil` for no limit.
    /// - Returns: The slice, which is running. It stops when the loop over it is left or nobody holds it any more.
    public func slice(for duration: Duration? = nil) -> Slice {
        Slice { [self] tell in
            try await run(for: duration, onProgress: tell)
        }
    }

    /// Trains when and as hard as the device allows: looks at it, waits or runs as the rules say.
    ///
    /// It ends what else this session does, saved. Rules that let it train while the device is used
    /// (``NightRules/idleOnly`` is false) are rules for the foreground: such a night stops when the app leaves it.
    ///
    /// - Parameters:
    ///   - platform: The device's state, `ApplePlatform` for example.
    ///   - rules: When training may run.
    ///   - grant: The time that the system has granted; `nil` for no limit.
    ///   - isLastGrant: Whether no other grant follows tonight, as far as is known: the estimate then counts a whole
    ///     night.
    ///   - onProgress: As in ``run(for:onProgress:)``.
    /// - Returns: How it ended.
    /// - Throws: ``NightgraftError``, or what `onProgress` or the platform throws.
    @discardableResult
    public func runNight(
        on platform: any Platform, rules: NightRules = NightRules(), grant: Duration? = nil,
        isLastGrant: Bool = false, onProgress: (@Sendable (TrainingProgress) throws -> Void)? = nil
    ) async throws -> SliceOutcome {
        let night: @Sendable () async throws -> SliceOutcome = { [self] in
            try await pass(on: platform, rules, grant: grant, isLastGrant: isLastGrant, onProgress)
        }
        return try await rules.idleOnly ? night() : untilBackground(night)
    }

    /// Starts a night and tells how it goes, as an asynchronous sequence.
    ///
    /// - Parameters:
    ///   - platform: The device's state.
    ///   - rules: When training may run.
    ///   - grant: The time that the system has granted; `nil` for no limit.
    ///   - isLastGrant: Whether no other grant follows tonight.
    /// - Returns: The night, which is running. It stops when the loop over it is left or nobody holds it any more.
    public func night(
        on platform: any Platform, rules: NightRules = NightRules(), grant: Duration? = nil, isLastGrant: Bool = false
    ) -> Slice {
        Slice { [self] tell in
            try await runNight(
                on: platform, rules: rules, grant: grant, isLastGrant: isLastGrant, onProgress: tell)
        }
    }

    /// Stops the slice that runs, from any thread. It ends within a quarter of a second, saved. A slice that waits for its
    /// turn is not stopped; cancel its task.
    public func stop() {
        handle.stop()
    }

    /// Wakes a night that waits: the device has changed, a charger was connected for example.
    public func deviceChanged() {
        handle.deviceChanged()
    }

    // MARK: How it stands

    /// How far the session is.
    public var progress: TrainingProgress {
        TrainingProgress(handle.progress())
    }

    /// What the session did that this object has seen finish last.
    public var report: SessionReport? {
        handle.report().map(SessionReport.init)
    }

    /// Stops what runs, waits until it is saved, and closes the session: every later call fails with
    /// ``NightgraftError/cancelled(reason:)``.
    ///
    /// - Throws: ``NightgraftError``.
    public func close() async throws {
        try await translating { try await handle.release() }
    }

    private func pass(
        on platform: any Platform, _ rules: NightRules, grant: Duration?, isLastGrant: Bool,
        _ onProgress: (@Sendable (TrainingProgress) throws -> Void)?
    ) async throws -> SliceOutcome {
        let seconds = grant?.inSeconds
        let converted = try rules.ffi()
        let adapter = PlatformAdapter(platform)
        let endObservation = platform.observe { [handle] in handle.deviceChanged() }
        defer { endObservation() }
        do {
            return try await pass(onProgress, preempting: true) { handle, listener in
                try await handle.runNight(
                    platform: adapter, rules: converted, grantSeconds: seconds, lastGrant: isLastGrant,
                    listener: listener)
            }
        } catch {
            throw adapter.appError ?? error
        }
    }

    private func pass(
        _ onProgress: (@Sendable (TrainingProgress) throws -> Void)?, preempting: Bool = false,
        work: (FFI.Session, any FFI.ProgressListener) async throws -> FFI.SliceOutcome
    ) async throws -> SliceOutcome {
        let handle = handle
        let stop: @Sendable () -> Void = { handle.stop() }
        let outcome = try await mutex.withLock(preempting: preempting, stop: stop) { stopped in
            let listener = Listener(handler: onProgress, stopped: stopped, stop: stop)
            do {
                return SliceOutcome(try await translating { try await work(handle, listener) })
            } catch {
                throw listener.appError ?? error
            }
        }
        return outcome ?? .paused(.stopped)
    }
}

extension PersonalizationSession {
    /// A night that the user began: it ends when the app leaves the foreground, unless the system lets it go on.
    func runContinued(
        on platform: any Platform, rules: NightRules, goesOn: @escaping @Sendable () -> Bool,
        onProgress: @escaping @Sendable (TrainingProgress) throws -> Void
    ) async throws -> SliceOutcome {
        try await untilBackground(unless: goesOn) { [self] in
            try await pass(on: platform, rules, grant: nil, isLastGrant: false, onProgress)
        }
    }
}

extension PersonalizationSession: GrantedWork {
    func runGranted(
        on platform: any Platform, rules: NightRules, onProgress: @escaping @Sendable (TrainingProgress) -> Void
    ) async throws -> SliceOutcome {
        try await pass(on: platform, rules, grant: nil, isLastGrant: false, onProgress)
    }
}
