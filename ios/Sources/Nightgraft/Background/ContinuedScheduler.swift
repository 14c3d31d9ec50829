/// The system's tasks that users begin, as `BGTaskScheduler` has them from iOS 26 on.
protocol ContinuedScheduler: Sendable {
    /// Asks for a task that begins now. `launch` is called once, with the grant; an error says that there is none.
    func start(_ request: ContinuedRequest, launch: @escaping @Sendable (any ContinuedGrant) -> Void) throws
}

/// A grant that shows how far its work is.
protocol ContinuedGrant: BackgroundGrant {
    /// Shows the share that is done. The system ends work that seems to stand still.
    func show(_ fraction: Double)
}

/// What the system is asked for and shows.
struct ContinuedRequest: Sendable, Hashable {
    /// An identifier of its own: the system takes each only once.
    let identifier: String
    let title: String
    let subtitle: String
}

#if !(os(iOS) && compiler(>=6.2))
/// This system, or the SDK at hand, has no such tasks.
struct SystemContinuedScheduler: ContinuedScheduler {
    func start(_ request: ContinuedRequest, launch: @escaping @Sendable (any ContinuedGrant) -> Void) throws {
        throw NightgraftError.unsupported(reason: "this system has no continued tasks")
    }
}
#endif
