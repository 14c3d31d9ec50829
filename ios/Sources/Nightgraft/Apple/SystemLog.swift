#if canImport(os)
import os

/// The system's own log: `setLogSink(SystemLog())`, and Console shows it.
public struct SystemLog: LogSink {
    private let subsystem: String

    /// A log under the name of a part of the app.
    ///
    /// - Parameter subsystem: That name.
    public init(subsystem: String = "org.nightgraft") {
        self.subsystem = subsystem
    }

    /// Puts a line into the log; its category is the part of the library that it comes from.
    ///
    /// - Parameters:
    ///   - message: What there is to say, which is shown: it holds no user's text.
    ///   - level: How important the line is.
    ///   - target: The part of the library.
    public func log(_ message: String, level: LogLevel, target: String) {
        Logger(subsystem: subsystem, category: target).log(level: level.system, "\(message, privacy: .public)")
    }
}

extension LogLevel {
    fileprivate var system: OSLogType {
        switch self {
        case .error: .error
        case .warning: .default
        case .info: .info
        case .debug: .debug
        }
    }
}
#endif
