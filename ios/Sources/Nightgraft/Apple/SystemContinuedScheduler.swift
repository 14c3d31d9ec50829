// The SDK that has these tasks comes with Swift 6.2.
#if os(iOS) && compiler(>=6.2)
import BackgroundTasks

/// The system's own scheduler.
struct SystemContinuedScheduler: ContinuedScheduler {
    func start(_ request: ContinuedRequest, launch: @escaping @Sendable (any ContinuedGrant) -> Void) throws {
        guard #available(iOS 26.0, *) else {
            throw NightgraftError.unsupported(reason: "this system has no continued tasks")
        }
        let scheduler = BGTaskScheduler.shared
        let isRegistered = scheduler.register(forTaskWithIdentifier: request.identifier, using: nil) { task in
            guard let task = task as? BGContinuedProcessingTask else { return task.setTaskCompleted(success: false) }
            launch(SystemContinuedGrant(task))
        }
        guard isRegistered else {
            throw NightgraftError.unsupported(reason: "Info.plist does not list \(request.identifier)")
        }
        let task = BGContinuedProcessingTaskRequest(
            identifier: request.identifier, title: request.title, subtitle: request.subtitle)
        // The training has begun already.
        task.strategy = .fail
        try scheduler.submit(task)
    }
}

/// The system's task. Unchecked, because `BGTask` is not marked as sendable; its methods may be called from any thread.
@available(iOS 26.0, *)
private final class SystemContinuedGrant: ContinuedGrant, @unchecked Sendable {
    private static let units: Int64 = 1000
    private let task: BGContinuedProcessingTask

    init(_ task: BGContinuedProcessingTask) {
        self.task = task
        task.progress.totalUnitCount = Self.units
    }

    func onExpiration(_ handler: @escaping @Sendable () -> Void) {
        task.expirationHandler = handler
    }

    func show(_ fraction: Double) {
        task.progress.completedUnitCount = Int64(fraction * Double(Self.units))
    }

    func complete(success: Bool) {
        task.expirationHandler = nil
        task.setTaskCompleted(success: success)
    }
}
#endif
