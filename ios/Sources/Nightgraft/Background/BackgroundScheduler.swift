/// The system's background tasks, as `BGTaskScheduler` has them. Tests and the Simulator have `OnDemandScheduler` of
/// `NightgraftTesting`.
public protocol BackgroundScheduler: Sendable {
    /// Has `launch` called with each grant.
    ///
    /// - Parameters:
    ///   - identifier: The task's identifier.
    ///   - launch: What uses a grant.
    /// - Returns: Whether the system accepts the identifier.
    func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool
    /// Asks for a grant, in place of what was asked for under the same identifier.
    ///
    /// - Parameter request: What is asked for.
    /// - Throws: The system's reason to refuse it.
    func submit(_ request: BackgroundRequest) throws
    /// Takes back what was asked for.
    ///
    /// - Parameter identifier: The task's identifier.
    func cancel(_ identifier: String)
}

/// A grant of background time, as a `BGProcessingTask` is one.
public protocol BackgroundGrant: Sendable {
    /// Has `handler` called when the system wants the time back.
    ///
    /// - Parameter handler: What is called then, from any thread.
    func onExpiration(_ handler: @escaping @Sendable () -> Void)
    /// Tells the system that the app is done. It is called exactly once.
    ///
    /// - Parameter success: Whether the work came as far as it could.
    func complete(success: Bool)
}

#if !canImport(BackgroundTasks) || os(macOS)
/// This system has no background tasks.
struct SystemBackgroundScheduler: BackgroundScheduler {
    func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool {
        false
    }

    func submit(_ request: BackgroundRequest) throws {
        throw NightgraftError.unsupported(reason: "this system has no background tasks")
    }

    func cancel(_ identifier: String) {}
}
#endif
