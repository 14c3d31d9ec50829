import Foundation

extension Notification.Name {
    /// `UIApplication.didEnterBackgroundNotification` by its value: the library is also for extensions and for systems
    /// that have no UIKit.
    static var appEntersBackground: Notification.Name { .init("UIApplicationDidEnterBackgroundNotification") }
}

/// Does `work` in a task that is cancelled when the app leaves the foreground, unless the system lets it go on.
///
/// Soon after that moment the system suspends the process wherever it is. Work that was suspended would go on by itself when
/// the process is woken for a night, and use the grant without the night's rules.
func untilBackground<Output: Sendable>(
    unless goesOn: @escaping @Sendable () -> Bool = { false }, _ work: @escaping @Sendable () async throws -> Output
) async throws -> Output {
    let task = Task { try await work() }
    let center = NotificationCenter.default
    let observer = center.addObserver(forName: .appEntersBackground, object: nil, queue: nil) { _ in
        if !goesOn() { task.cancel() }
    }
    defer { center.removeObserver(observer) }
    return try await withTaskCancellationHandler {
        try await task.value
    } onCancel: {
        task.cancel()
    }
}
