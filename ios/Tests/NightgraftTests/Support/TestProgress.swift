@testable import Nightgraft

extension TrainingProgress {
    static func during(_ phase: Phase, step: Int = 0, waiting: Waiting? = nil) -> TrainingProgress {
        TrainingProgress(
            phase: phase, step: step, totalSteps: 0, loss: nil, heldOutLoss: nil, tokensPerSecond: nil, timeLeft: nil,
            memoryBytes: 0, waiting: waiting, estimate: nil, warning: nil, nothingToDo: nil)
    }

    static func waiting(for kind: Waiting.Kind) -> TrainingProgress {
        .during(.waiting, waiting: Waiting(kind: kind, text: ""))
    }
}
