internal import NightgraftGenerated

/// Takes what a running piece of Rust work tells, hands it to the app, and stops the work if the app throws.
final class Listener<Value: Sendable>: Sendable {
    private let handler: (@Sendable (Value) throws -> Void)?
    private let stopped: Flag
    private let stop: @Sendable () -> Void
    private let thrown = Locked<(any Error)?>(nil)

    init(handler: (@Sendable (Value) throws -> Void)?, stopped: Flag, stop: @escaping @Sendable () -> Void) {
        self.handler = handler
        self.stopped = stopped
        self.stop = stop
    }

    /// What the app threw.
    var appError: (any Error)? {
        thrown.withLock { $0 }
    }

    fileprivate func tell(_ value: Value) throws {
        if stopped.isRaised {
            // A task may be cancelled just before its work begins, when there is nothing to stop yet.
            stop()
        }
        do {
            try handler?(value)
        } catch {
            thrown.withLock { $0 = $0 ?? error }
            // The text stays on this side: an app's error may hold what must not be in the library's.
            throw FFI.ListenerError.Failed(reason: "the app's listener threw an error")
        }
    }
}

extension Listener: FFI.ProgressListener where Value == TrainingProgress {
    func onProgress(progress: FFI.Progress) throws {
        try tell(TrainingProgress(progress))
    }
}

extension Listener: FFI.TextListener where Value == String {
    func onText(piece: String) throws {
        try tell(piece)
    }
}

/// An app's platform as Rust sees it.
final class PlatformAdapter: FFI.Platform {
    private let platform: any Platform
    private let thrown = Locked<(any Error)?>(nil)

    /// What the app threw.
    var appError: (any Error)? {
        thrown.withLock { $0 }
    }

    init(_ platform: any Platform) {
        self.platform = platform
    }

    func state() throws -> FFI.DeviceState {
        do {
            return try platform.state().ffi
        } catch {
            thrown.withLock { $0 = $0 ?? error }
            throw FFI.PlatformError.Failed(reason: "the app's platform threw an error")
        }
    }
}
