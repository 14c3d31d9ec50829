import Foundation
internal import NightgraftGenerated

/// What became of one night, as ``AdapterStore/nights()`` tells: of one call of
/// ``PersonalizationSession/runNight(on:rules:grant:isLastGrant:onProgress:)`` or
/// ``PersonalizationSession/night(on:rules:grant:isLastGrant:)``.
public struct NightRecord: Sendable, Hashable {
    /// For how long a night waited for something.
    public struct Wait: Sendable, Hashable {
        /// For what. The kinds for too much heat and for use also stand for the time shortly after.
        public let kind: Waiting.Kind
        /// How long, all such waits together.
        public let duration: Duration
    }

    /// How a night ended.
    public enum End: Sendable, Hashable {
        /// Its time was over, and the training goes on with the next.
        case goesOn
        /// The app stopped it.
        case stopped
        /// There was nothing to train.
        case nothingToDo(NothingToDoReason)
        /// The session is over and its result judged. There is no graft if training diverged.
        case finished(graft: Graft.ID?, promoted: Bool, refusals: [Refusal])
        /// An error ended it.
        case failed
    }

    /// When it began, by the device's clock.
    public let began: Date
    /// The time from then until the record was last written.
    public let duration: Duration
    /// How long it worked meanwhile, rests of a warm device included.
    public let running: Duration
    /// What it waited for, each kind once, in the order in which it came up.
    public let waits: [Wait]
    /// Steps that were made.
    public let steps: Int
    /// How it ended; `nil` while it goes on, and of one whose process was killed.
    public let end: End?
}

extension NightRecord {
    init(_ record: FFI.NightRecord) {
        began = Date(timeIntervalSince1970: TimeInterval(record.began))
        duration = Nightgraft.duration(seconds: record.seconds) ?? .zero
        running = Nightgraft.duration(seconds: record.runningSeconds) ?? .zero
        waits = record.waits.map(Wait.init)
        steps = Int(clamping: record.steps)
        end = record.end.map(End.init)
    }
}

extension NightRecord.Wait {
    init(_ wait: FFI.NightWait) {
        kind = Waiting.Kind(wait.kind)
        duration = Nightgraft.duration(seconds: wait.seconds) ?? .zero
    }
}

extension NightRecord.End {
    init(_ end: FFI.NightEnd) {
        self =
            switch end {
            case .goesOn: .goesOn
            case .stopped: .stopped
            case .nothingToDo(let reason): .nothingToDo(NothingToDoReason(reason))
            case .finished(let graft, let promoted, let refusals):
                .finished(graft: graft, promoted: promoted, refusals: refusals.map(Refusal.init))
            case .failed: .failed
            }
    }
}
