import Foundation

/// What became of a grant of background time.
public struct BackgroundReport: Sendable {
    /// How it ended.
    public let ending: BackgroundEnding
    /// What the system was asked for next.
    public let next: NextBackgroundTask
}

/// How a background task ended.
public enum BackgroundEnding: Sendable, Hashable {
    /// The session's night came to its end.
    case ended(SliceOutcome)
    /// The grant was over before; everything is saved.
    case expired
    /// It failed; `nil` for an error that is not Nightgraft's, thrown by the app's own code.
    case failed(NightgraftError?)
}

/// What the system was asked for when a background task ended.
public enum NextBackgroundTask: Sendable {
    /// It has taken this request.
    case requested(BackgroundRequest)
    /// None is asked for: the app must do something about the error first, or it has taken its request back.
    case notRequested
    /// It refuses, with a `BGTaskScheduler.Error`. There are no more nights until the app submits a request that it takes.
    case refused(any Error)
}

/// A background task to ask the system for.
public struct BackgroundRequest: Sendable, Hashable {
    /// The task's identifier.
    public let identifier: String
    /// The system does not start it before.
    public let earliestBegin: Date
    /// Whether the system waits for a charger.
    public let requiresExternalPower: Bool
}
