#if canImport(BackgroundTasks) && !os(macOS)
import BackgroundTasks
import Foundation

extension BackgroundPersonalization {
    /// Tells the system which task this app runs in the background. Call it before the app has finished launching.
    ///
    /// - Returns: Whether the system accepts it: `Info.plist` must list the identifier, and each is registered once.
    @discardableResult
    public func register() -> Bool {
        BGTaskScheduler.shared.register(forTaskWithIdentifier: schedule.identifier, using: nil) { [self] task in
            let grant = SystemGrant(task)
            Task {
                await run(in: grant) { request in
                    // The system refuses when background work is switched off for the app; the next call of submit()
                    // in the foreground tells the app.
                    try? BGTaskScheduler.shared.submit(request.system)
                }
            }
        }
    }

    /// Asks the system for a grant; one that was asked for before is replaced. Call it when there is something new to
    /// learn.
    ///
    /// - Throws: `BGTaskScheduler.Error`: background work is switched off, or the identifier is not in `Info.plist`.
    public func submit() throws {
        guard let request = schedule.request(after: nil, rules: rules) else { return }
        try BGTaskScheduler.shared.submit(request.system)
    }

    /// Takes back what was asked for.
    public func cancel() {
        BGTaskScheduler.shared.cancel(taskRequestWithIdentifier: schedule.identifier)
    }
}

extension BackgroundRequest {
    /// As the system takes it.
    var system: BGProcessingTaskRequest {
        let request = BGProcessingTaskRequest(identifier: identifier)
        request.earliestBeginDate = earliestBegin
        request.requiresExternalPower = requiresExternalPower
        request.requiresNetworkConnectivity = false
        return request
    }
}

/// The system's task. Unchecked, because `BGTask` is not marked as sendable; its methods may be called from any thread.
private final class SystemGrant: BackgroundGrant, @unchecked Sendable {
    private let task: BGTask

    init(_ task: BGTask) {
        self.task = task
    }

    func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        task.expirationHandler = handler
    }

    func complete(success: Bool) {
        // It holds the run, which holds the task.
        task.expirationHandler = nil
        task.setTaskCompleted(success: success)
    }
}
#endif
