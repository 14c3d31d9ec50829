/// The system's background tasks, as `BGTaskScheduler` has them.
protocol BackgroundScheduler: Sendable {
    /// Has `launch` called with each grant. Returns whether the system accepts the identifier.
    func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool
    /// Asks for a grant, in place of what was asked for under the same identifier.
    func submit(_ request: BackgroundRequest) throws
    /// Takes back what was asked for.
    func cancel(_ identifier: String)
}

/// A grant of background time, as a `BGProcessingTask` is one.
protocol BackgroundGrant: Sendable {
    /// Has `handler` called when the system wants the time back.
    func onExpiration(_ handler: @escaping @Sendable () -> Void)
    /// Tells the system that the app is done. To be called exactly once.
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
