import Foundation
internal import NightgraftGenerated

/// A trained adapter in a store.
public struct Graft: Sendable, Hashable, Identifiable {
    /// Where a graft stands.
    public enum Status: Sendable, Hashable {
        /// It is in use.
        case current
        /// It was in use; ``AdapterStore/rollBack()`` goes back to it.
        case former
        /// It passed the gate and is not in use yet.
        case candidate
        /// The gate refused it.
        case refused
        /// Its file cannot be read.
        case damaged
    }

    /// For whom a graft is exported.
    public enum Format: Sendable, Hashable, CaseIterable {
        /// A folder as Hugging Face's PEFT reads it.
        case peft
        /// A file as llama.cpp reads it.
        case gguf
    }

    /// The graft's number in its store.
    public let id: UInt64
    /// Where it stands.
    public let status: Status
    /// Its size on the disk in bytes.
    public let bytes: Int
    /// When it was made; `nil` if its file cannot be read.
    public let created: Date?
    /// The graft that its training began with; `nil` for none.
    public let parent: Graft.ID?
    /// How many examples it learned from.
    public let examples: Int
    /// The steps of its training.
    public let steps: Int
    /// The tokens of its training, counted once for each pass.
    public let tokens: Int
    /// What the gate found.
    public let verdict: Verdict?
    /// Examples that it learned from and that are deleted.
    public let sawDeleted: [StoredExample.ID]
    /// What is wrong with a damaged one.
    public let problem: String?
}

/// What the gate found when it compared a graft with the base and with what was in use.
///
/// Losses are in nats per token: lower is better.
public struct Verdict: Sendable, Hashable {
    /// Whether the graft may come into use.
    public let promotes: Bool
    /// Why it may not.
    public let refusals: [Refusal]
    /// The loss on the examples that were held out, of the base or of the graft that was in use.
    public let heldOutBefore: Double?
    /// The loss of the new graft on the examples that were held out.
    public let heldOutAfter: Double?
    /// The loss on general texts, of the base or of the graft that was in use.
    public let retentionBefore: Double?
    /// The loss of the new graft on general texts.
    public let retentionAfter: Double?
    /// All of it in a sentence.
    public let text: String
}

extension Graft {
    init(_ graft: FFI.Graft) {
        id = graft.id
        status = Status(graft.status)
        bytes = Int(clamping: graft.bytes)
        created = graft.created.map { Date(timeIntervalSince1970: TimeInterval($0)) }
        parent = graft.parent
        examples = Int(clamping: graft.examples)
        steps = Int(clamping: graft.steps)
        tokens = Int(clamping: graft.tokens)
        verdict = graft.verdict.map(Verdict.init)
        sawDeleted = graft.sawDeleted
        problem = graft.problem
    }
}

extension Graft.Status {
    init(_ status: FFI.GraftStatus) {
        self =
            switch status {
            case .current: .current
            case .former: .former
            case .candidate: .candidate
            case .refused: .refused
            case .damaged: .damaged
            }
    }
}

extension Graft.Format {
    var ffi: FFI.GraftFormat {
        switch self {
        case .peft: .peft
        case .gguf: .gguf
        }
    }
}

extension Verdict {
    init(_ verdict: FFI.Verdict) {
        promotes = verdict.promote
        refusals = verdict.refusals.map(Refusal.init)
        heldOutBefore = verdict.heldOutBefore
        heldOutAfter = verdict.heldOutAfter
        retentionBefore = verdict.retentionBefore
        retentionAfter = verdict.retentionAfter
        text = verdict.text
    }
}
