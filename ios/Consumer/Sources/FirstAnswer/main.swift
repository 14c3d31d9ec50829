import Foundation
import Nightgraft

let model = ProcessInfo.processInfo.environment["NIGHTGRAFT_SMOLLM2"] ?? "model.gguf"
let folder = URL(fileURLWithPath: "store")
let key = StoreKey.random()
let examples = (0..<20).map {
    Example.chat(question: "What is in box \($0)?", answer: "In box \($0) there are \($0) ropes.")
}
let answer = try await personalizedAnswer(
    modelURL: URL(fileURLWithPath: model), folder: folder, key: key, examples: examples, question: "What is in box 3?")
let graft = try await AdapterStore(at: folder, key: key).currentGraft()
print("graft \(graft ?? 0) answers: \(answer)")
precondition(graft == 1, "the graft was not promoted")
precondition(answer == "In box 3 there are 3 ropes.", "the answer is not a learned one")
