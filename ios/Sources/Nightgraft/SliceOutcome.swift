internal import NightgraftGenerated

/// How a slice ended. Whatever it was, everything is saved.
public enum SliceOutcome: Sendable, Hashable {
    /// There is more to do; another slice goes on from here.
    case paused(PauseReason)
    /// The session is over and its result judged.
    case finished(SessionReport)
    /// The store has nothing new to learn, or too little; the text says the same as a sentence in English.
    case nothingToDo(NothingToDoReason, text: String)
}

/// Why nothing is trained.
public enum NothingToDoReason: Sendable, Hashable {
    /// The store has no examples.
    case noExamples
    /// The graft in use has learned from every example that is not held out.
    case everythingLearned
    /// Some examples have to be held out, and the others are not worth a training. With the defaults, a new store needs 16.
    /// A long text counts once for each piece that the context holds, an example that the model cannot use not at all.
    case tooFew(have: Int, need: Int)
    /// The same examples with the same settings were learned before, and the gate refused the result.
    case refusedBefore(Graft.ID)
    /// The same examples with the same settings were learned before, and the result is not in use.
    case notInUse(Graft.ID)
    /// The same examples with the same settings were tried before, and the training diverged.
    case divergedBefore
    /// An earlier graft came into use again: it has seen every example but the deleted ones.
    case inUseAgain(Graft.ID)
}

/// Why a slice ended before the session did.
public enum PauseReason: Sendable, Hashable {
    /// It was stopped: by ``PersonalizationSession/stop()``, by its task's cancellation, by a night on the same session, when
    /// the app left the foreground, or because nobody listens any more.
    case stopped
    /// Its time was over.
    case deadline
    /// The device does not allow it.
    case policy(Waiting)
}

/// What a session did.
public struct SessionReport: Sendable, Hashable {
    /// Examples that it trained on.
    public let trained: Int
    /// Old examples among them, which are trained on again so that they are not forgotten.
    public let replayed: Int
    /// Examples that judged the result.
    public let heldOut: Int
    /// Steps.
    public let steps: Int
    /// Tokens, counted once for each pass.
    public let tokens: Int
    /// Whether it ended early because held-out examples got no better.
    public let stoppedEarly: Bool
    /// What computed the steps, one after the other: names of GPUs with their arithmetic, or the processor with its
    /// instructions.
    public let devices: [String]
    /// The graft that it made.
    public let graft: Graft.ID?
    /// Whether that is in use now.
    public let promoted: Bool
    /// What the gate found.
    public let verdict: Verdict
}

extension SliceOutcome {
    init(_ outcome: FFI.SliceOutcome) {
        self =
            switch outcome {
            case .paused(let reason): .paused(PauseReason(reason))
            case .finished(let report): .finished(SessionReport(report))
            case .nothingToDo(let reason, let text): .nothingToDo(NothingToDoReason(reason), text: text)
            }
    }
}

extension NothingToDoReason {
    init(_ reason: FFI.NothingToDoReason) {
        self =
            switch reason {
            case .noExamples: .noExamples
            case .everythingLearned: .everythingLearned
            case .tooFew(let have, let need): .tooFew(have: Int(clamping: have), need: Int(clamping: need))
            case .refusedBefore(let graft): .refusedBefore(graft)
            case .notInUse(let graft): .notInUse(graft)
            case .divergedBefore: .divergedBefore
            case .inUseAgain(let graft): .inUseAgain(graft)
            }
    }
}

extension PauseReason {
    init(_ reason: FFI.PauseReason) {
        self =
            switch reason {
            case .stopped: .stopped
            case .deadline: .deadline
            case .policy(let waiting): .policy(Waiting(waiting))
            }
    }
}

extension SessionReport {
    init(_ report: FFI.SessionReport) {
        trained = Int(clamping: report.trained)
        replayed = Int(clamping: report.replayed)
        heldOut = Int(clamping: report.heldOut)
        steps = Int(clamping: report.steps)
        tokens = Int(clamping: report.tokens)
        stoppedEarly = report.stoppedEarly
        devices = report.devices
        graft = report.graft
        promoted = report.promoted
        verdict = Verdict(report.verdict)
    }
}
