internal import NightgraftGenerated

/// A reason of the gate's not to use a new adapter.
public struct Refusal: Sendable, Hashable {
    /// The kinds of reasons. Shares are of the loss of the one compared with.
    public enum Kind: Sendable, Hashable {
        /// The gate's settings make no sense.
        case invalidSettings
        /// A loss is no usable number: the training diverged.
        case notFinite
        /// Two models were not measured on the same examples.
        case mismatched
        /// There is nothing to measure on.
        case unmeasured
        /// Too few examples were held out.
        case tooFewHeldOut(examples: Int, needed: Int)
        /// The adapter does what the base does: the loss changes by this share.
        case noEffect(change: Double)
        /// Held-out examples do not get better, or not by enough, or not for certain. A gain below zero is a loss; it is
        /// one on the graft in use, or on the base.
        case notBetter(thanCurrent: Bool, gain: Double, needed: Double)
        /// It learned its examples by heart: so much more was saved on them than on others.
        case overfits(share: Double, limit: Double)
        /// General texts get worse by this share.
        case forgets(increase: Double, limit: Double)
        /// The examples are hardly better language than their words in random order, which saves so much.
        case notLanguage(saved: Double, needed: Double)
    }

    /// The kind of reason, with its figures.
    public let kind: Kind
    /// The reason in a sentence in English.
    public let text: String
}

extension Refusal {
    init(_ refusal: FFI.Refusal) {
        kind = Kind(refusal.kind)
        text = refusal.text
    }
}

extension Refusal.Kind {
    init(_ kind: FFI.RefusalKind) {
        self =
            switch kind {
            case .invalidSettings: .invalidSettings
            case .notFinite: .notFinite
            case .mismatched: .mismatched
            case .unmeasured: .unmeasured
            case .tooFewHeldOut(let examples, let needed):
                .tooFewHeldOut(examples: Int(clamping: examples), needed: Int(clamping: needed))
            case .noEffect(let change): .noEffect(change: change)
            case .notBetter(let thanCurrent, let gain, let needed):
                .notBetter(thanCurrent: thanCurrent, gain: gain, needed: needed)
            case .overfits(let share, let limit): .overfits(share: share, limit: limit)
            case .forgets(let increase, let limit): .forgets(increase: increase, limit: limit)
            case .notLanguage(let saved, let needed): .notLanguage(saved: saved, needed: needed)
            }
    }
}
