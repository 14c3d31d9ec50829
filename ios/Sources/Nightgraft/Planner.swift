internal import NightgraftGenerated

/// What training would take, before it begins.
public final class Planner: Sendable {
    private let handle: FFI.Planner

    /// Plans for a model.
    ///
    /// - Parameter model: The model to adapt.
    public init(model: BaseModel) {
        handle = FFI.Planner(model: model.handle)
    }

    /// What memory training would need.
    ///
    /// - Parameter settings: How to train; ``SessionSettings/memoryLimit`` is the budget.
    /// - Returns: Whether it fits, and how.
    /// - Throws: ``NightgraftError``.
    public func memory(for settings: SessionSettings = SessionSettings()) async throws -> MemoryPlan {
        let converted = try settings.ffi()
        return try await translating { MemoryPlan(try await handle.memory(settings: converted)) }
    }

    /// How long training on what is new in a store would take. Runs a few real steps to measure, which change nothing.
    ///
    /// - Parameters:
    ///   - store: The examples.
    ///   - settings: How to train.
    /// - Returns: Steps and time.
    /// - Throws: ``NightgraftError``.
    public func time(
        for store: AdapterStore, settings: SessionSettings = SessionSettings()
    ) async throws -> TimePlan {
        let converted = try settings.ffi()
        return try await translating { TimePlan(try await handle.time(store: store.handle, settings: converted)) }
    }
}

/// What memory training would need, in bytes.
public struct MemoryPlan: Sendable, Hashable {
    /// Whether it fits into the budget.
    public let fits: Bool
    /// What the plan that it would choose needs.
    public let needed: Int
    /// What it needs at the least: slower with the same result, or with fewer tokens at a time.
    public let smallest: Int
    /// The tokens at a time that it would choose; 0 if nothing fits.
    public let batchTokens: Int
    /// Whether it would run slower to fit.
    public let slower: Bool
}

/// How long training would take.
public struct TimePlan: Sendable, Hashable {
    /// Examples to train on.
    public let examples: Int
    /// Their tokens, counted once for each pass.
    public let tokens: Int
    /// Steps.
    public let steps: Int
    /// The measured speed.
    public let tokensPerSecond: Double
    /// The time at that speed.
    public let duration: Duration
}

extension MemoryPlan {
    init(_ plan: FFI.MemoryPlan) {
        fits = plan.fits
        needed = Int(clamping: plan.needed)
        smallest = Int(clamping: plan.smallest)
        batchTokens = Int(plan.batchTokens)
        slower = plan.slower
    }
}

extension TimePlan {
    init(_ plan: FFI.TimePlan) {
        examples = Int(clamping: plan.examples)
        tokens = Int(clamping: plan.tokens)
        steps = Int(clamping: plan.steps)
        tokensPerSecond = plan.tokensPerSecond
        duration = Nightgraft.duration(seconds: plan.seconds) ?? .zero
    }
}
