internal import NightgraftGenerated

/// How far a session is.
public struct TrainingProgress: Sendable, Hashable {
    /// What a session is doing.
    public enum Phase: Sendable, Hashable {
        /// It reads examples and plans.
        case preparing
        /// It learns.
        case training
        /// It compares the result with what was in use.
        case judging
        /// It waits until the device allows it to run.
        case waiting
        /// The slice is over, and another one goes on from here.
        case paused
        /// The result is judged.
        case finished
        /// The store has nothing new, or too little.
        case nothingToDo
    }

    /// What the session is doing.
    public let phase: Phase
    /// Steps done.
    public let step: Int
    /// Steps of the whole session.
    public let totalSteps: Int
    /// The last step's loss, in nats per token.
    public let loss: Double?
    /// The last measured loss on held-out examples, in nats per token.
    public let heldOutLoss: Double?
    /// The speed.
    public let tokensPerSecond: Double?
    /// The time that the rest will take at this speed.
    public let timeLeft: Duration?
    /// The memory that this process holds, in bytes.
    public let memoryBytes: Int
    /// What it waits for.
    public let waiting: Waiting?
    /// How much longer the session takes, once a night has ended.
    public let estimate: Estimate?
    /// Something that the app's developer should know.
    public let warning: String?
    /// Why nothing is trained, in the phase of that name.
    public let nothingToDo: NothingToDoReason?

    /// The share of the steps that is done, from 0 to 1.
    public var fractionCompleted: Double {
        totalSteps > 0 ? min(1, Double(step) / Double(totalSteps)) : 0
    }
}

/// How much longer a session takes, as far as that is known.
public struct Estimate: Sendable, Hashable {
    /// Steps that are left.
    public let stepsLeft: Int
    /// The time that they take at the sustained pace, pauses not counted.
    public let timeLeft: Duration?
    /// Nights that they take.
    public let nightsLeft: Double?
    /// All of it in a sentence in English.
    public let text: String
}

/// What a night waits for.
public struct Waiting: Sendable, Hashable {
    /// The kinds of reasons.
    public enum Kind: Sendable, Hashable, CaseIterable {
        /// No charger gives power.
        case notCharging
        /// The low power mode is on.
        case lowPowerMode
        /// The battery is too low.
        case batteryLow
        /// The device is too warm.
        case tooWarm
        /// The device was too warm a short while ago.
        case coolingDown
        /// Somebody uses the device.
        case inUse
        /// Somebody used the device a short while ago.
        case justUsed
        /// It is not the time of day.
        case outsideWindow
        /// The day's minutes are used up.
        case minutesUsedUp
        /// The day's energy is used up.
        case energyUsedUp
        /// The day's writing to flash memory is used up.
        case flashUsedUp
        /// Too little storage is free.
        case storageLow
        /// Too little memory is free.
        case memoryLow
        /// The device's state cannot be read.
        case unreadable
    }

    /// The kind of reason.
    public let kind: Kind
    /// The reason in a sentence for the device's owner.
    public let text: String
}

extension TrainingProgress {
    init(_ progress: FFI.Progress) {
        phase = Phase(progress.phase)
        step = Int(clamping: progress.step)
        totalSteps = Int(clamping: progress.totalSteps)
        loss = progress.loss
        heldOutLoss = progress.heldOutLoss
        tokensPerSecond = progress.tokensPerSecond
        timeLeft = duration(seconds: progress.secondsLeft)
        memoryBytes = Int(clamping: progress.memoryBytes)
        waiting = progress.waiting.map(Waiting.init)
        estimate = progress.estimate.map(Estimate.init)
        warning = progress.warning
        nothingToDo = progress.nothingToDo.map(NothingToDoReason.init)
    }
}

extension Estimate {
    init(_ estimate: FFI.Estimate) {
        stepsLeft = Int(clamping: estimate.stepsLeft)
        timeLeft = duration(seconds: estimate.secondsLeft)
        nightsLeft = estimate.nightsLeft
        text = estimate.text
    }
}

extension TrainingProgress.Phase {
    init(_ phase: FFI.Phase) {
        self =
            switch phase {
            case .preparing: .preparing
            case .training: .training
            case .judging: .judging
            case .waiting: .waiting
            case .paused: .paused
            case .finished: .finished
            case .nothingToDo: .nothingToDo
            }
    }
}

extension Waiting {
    init(_ waiting: FFI.Waiting) {
        kind = Kind(waiting.kind)
        text = waiting.text
    }
}

extension Waiting.Kind {
    init(_ kind: FFI.WaitKind) {
        self =
            switch kind {
            case .notCharging: .notCharging
            case .lowPowerMode: .lowPowerMode
            case .batteryLow: .batteryLow
            case .tooWarm: .tooWarm
            case .coolingDown: .coolingDown
            case .inUse: .inUse
            case .justUsed: .justUsed
            case .outsideWindow: .outsideWindow
            case .minutesUsedUp: .minutesUsedUp
            case .energyUsedUp: .energyUsedUp
            case .flashUsedUp: .flashUsedUp
            case .storageLow: .storageLow
            case .memoryLow: .memoryLow
            case .unreadable: .unreadable
            }
    }
}
