#if canImport(BackgroundTasks) && !os(macOS)
import BackgroundTasks

/// The system's own scheduler.
struct SystemBackgroundScheduler: BackgroundScheduler {
    func register(_ identifier: String, launch: @escaping @Sendable (any BackgroundGrant) -> Void) -> Bool {
        BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: nil) { task in
            launch(SystemGrant(task))
        }
    }

    func submit(_ request: BackgroundRequest) throws {
        let task = BGProcessingTaskRequest(identifier: request.identifier)
        task.earliestBeginDate = request.earliestBegin
        task.requiresExternalPower = request.requiresExternalPower
        task.requiresNetworkConnectivity = false
        try BGTaskScheduler.shared.submit(task)
    }

    func cancel(_ identifier: String) {
        BGTaskScheduler.shared.cancel(taskRequestWithIdentifier: identifier)
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
