internal import NightgraftGenerated

/// Gets what the library has to log; ``setLogSink(_:atLeast:)`` installs one. On Apple's systems `SystemLog` is one.
public protocol LogSink: Sendable {
    /// Takes one line. It is called from one thread of the library's, which nothing else waits for; what it throws is passed
    /// over.
    ///
    /// - Parameters:
    ///   - message: What there is to say. It names files and settings, never a user's text.
    ///   - level: How important the line is.
    ///   - target: The part of the library that it comes from.
    func log(_ message: String, level: LogLevel, target: String) throws
}

/// How important a line of the log is.
public enum LogLevel: Sendable, Hashable, CaseIterable {
    /// Something has failed.
    case error
    /// Something is not as it should be, and goes on.
    case warning
    /// What a night does and waits for.
    case info
    /// For those who work on the library.
    case debug
}

/// From now on hands what the library has to log to a sink, in place of the one before.
///
/// - Parameters:
///   - sink: Who gets the lines; `nil` for nobody.
///   - level: The least important level that it gets.
public func setLogSink(_ sink: (any LogSink)?, atLeast level: LogLevel = .info) {
    NightgraftGenerated.setLogSink(sink: sink.map(LogRelay.init), atLeast: level.ffi)
}

/// An app's sink as Rust sees it.
private final class LogRelay: FFI.LogSink {
    private let sink: any LogSink

    init(_ sink: any LogSink) {
        self.sink = sink
    }

    func log(level: FFI.LogLevel, target: String, message: String) throws {
        do {
            try sink.log(message, level: LogLevel(level), target: target)
        } catch {
            throw FFI.ListenerError.Failed(reason: "the app's sink threw an error")
        }
    }
}

extension LogLevel {
    init(_ level: FFI.LogLevel) {
        self =
            switch level {
            case .error: .error
            case .warn: .warning
            case .info: .info
            case .debug: .debug
            }
    }

    var ffi: FFI.LogLevel {
        switch self {
        case .error: .error
        case .warning: .warn
        case .info: .info
        case .debug: .debug
        }
    }
}
