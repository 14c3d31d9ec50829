internal import NightgraftGenerated

/// How a session trains. The defaults suit a phone and some dozens of examples.
public struct SessionSettings: Sendable, Hashable {
    /// The adapter's rank: how much it can learn, and how large it is. Default: 8.
    public var rank: Int
    /// The adapter's weight is `alpha / rank`. Default: 16.
    public var alpha: Float
    /// Which matrices of a layer are adapted. Default: all.
    public var targets: AdapterTargets
    /// Which layers are adapted. Default: all.
    public var layers: AdapterLayers
    /// The share of the adapter's inputs that is left out at random in training. Default: 0.
    public var dropout: Float
    /// The size of the first steps; it falls along a cosine. `nil`: by the number of steps and the size of the weights.
    public var learningRate: Double?
    /// How often each example is learned from. Default: 3.
    public var epochs: Int
    /// The number of steps, instead of whole epochs.
    public var steps: Int?
    /// The longest example in tokens; longer ones are split or cut. Default: 256.
    public var context: Int
    /// Tokens that are worked on at a time; `nil` for 64 to 512, by how much there is to learn.
    public var batchTokens: Int?
    /// How many such batches make a step. Default: 1.
    public var accumulation: Int
    /// The share of the examples that is not trained on, but judges the result. Where it gives fewer than
    /// ``GateSettings/minimumHeldOut``, up to a quarter of them does; with fewer examples than that takes (16 with the
    /// defaults) nothing is trained: ``NothingToDoReason/tooFew(have:need:)``. Default: 0.1.
    public var heldOut: Float
    /// Old examples that are trained on again for each new one. Default: 1.
    public var replay: Double
    /// Steps between two savings to the disk. Whenever a slice ends, everything is saved as well. Default: 20.
    public var checkpointInterval: Int
    /// Decides the first adapter, the order of the examples and the dropout. Default: 42.
    public var seed: UInt64
    /// Threads to compute with; `nil` for one a core. The result is the same with any number.
    public var threads: Int?
    /// What computes. Default: the processor.
    public var device: ComputeDevice
    /// The memory that training may have, in bytes, the mapped model not counted; `nil` for no limit.
    public var memoryLimit: Int?
    /// Whether a session that is under way with other settings is forgotten. Otherwise it is refused. Default: false.
    public var startsAnew: Bool
    /// When the result may come into use.
    public var gate: GateSettings

    /// How a session trains. Every parameter is described at the property of its name.
    ///
    /// - Parameters:
    ///   - rank: The adapter's rank.
    ///   - alpha: The adapter's weight, times the rank.
    ///   - targets: Which matrices of a layer are adapted.
    ///   - layers: Which layers are adapted.
    ///   - dropout: The share of inputs left out at random.
    ///   - learningRate: The size of the first steps.
    ///   - epochs: How often each example is learned from.
    ///   - steps: The number of steps, instead of whole epochs.
    ///   - context: The longest example in tokens.
    ///   - batchTokens: Tokens that are worked on at a time.
    ///   - accumulation: How many such batches make a step.
    ///   - heldOut: The share of examples that judges the result.
    ///   - replay: Old examples for each new one.
    ///   - checkpointInterval: Steps between two savings.
    ///   - seed: The seed of everything random.
    ///   - threads: Threads to compute with.
    ///   - device: What computes.
    ///   - memoryLimit: The memory that training may have, in bytes.
    ///   - startsAnew: Whether a session with other settings is forgotten.
    ///   - gate: When the result may come into use.
    public init(
        rank: Int = 8, alpha: Float = 16, targets: AdapterTargets = .all, layers: AdapterLayers = .all,
        dropout: Float = 0, learningRate: Double? = nil, epochs: Int = 3, steps: Int? = nil, context: Int = 256,
        batchTokens: Int? = nil, accumulation: Int = 1, heldOut: Float = 0.1, replay: Double = 1,
        checkpointInterval: Int = 20, seed: UInt64 = 42, threads: Int? = nil,
        device: ComputeDevice = .processor, memoryLimit: Int? = nil, startsAnew: Bool = false,
        gate: GateSettings = GateSettings()
    ) {
        self.rank = rank
        self.alpha = alpha
        self.targets = targets
        self.layers = layers
        self.dropout = dropout
        self.learningRate = learningRate
        self.epochs = epochs
        self.steps = steps
        self.context = context
        self.batchTokens = batchTokens
        self.accumulation = accumulation
        self.heldOut = heldOut
        self.replay = replay
        self.checkpointInterval = checkpointInterval
        self.seed = seed
        self.threads = threads
        self.device = device
        self.memoryLimit = memoryLimit
        self.startsAnew = startsAnew
        self.gate = gate
    }

    func ffi() throws -> FFI.SessionSettings {
        FFI.SessionSettings(
            rank: try unsigned(rank, "rank"),
            alpha: alpha,
            targets: targets.rawValue,
            layers: layers.text,
            dropout: dropout,
            learningRate: learningRate,
            epochs: try unsigned(epochs, "epochs"),
            steps: try unsigned(steps, "steps"),
            context: try unsigned(context, "context"),
            batchTokens: try unsigned(batchTokens, "batchTokens"),
            accumulate: try unsigned(accumulation, "accumulation"),
            heldOut: heldOut,
            replay: replay,
            checkpointEvery: try unsigned(checkpointInterval, "checkpointInterval"),
            seed: seed,
            threads: try unsigned(threads, "threads"),
            device: try device.text,
            memoryLimit: try unsigned(memoryLimit, "memoryLimit"),
            startAnew: startsAnew,
            gate: try gate.ffi())
    }
}

/// When the result of a session may come into use. Shares are of the base's loss.
public struct GateSettings: Sendable, Hashable {
    /// Held-out examples without which nothing is trained and promoted. Default: 4.
    public var minimumHeldOut: Int
    /// The share of the loss on held-out examples that training must save. Default: 0.01.
    public var minimumGain: Double
    /// The share of that loss that training must save compared with the graft in use. Default: 0.002.
    public var minimumGainOnCurrent: Double
    /// The share by which the loss on general texts may rise. Default: 0.2.
    public var maximumForgetting: Double
    /// The share that may be saved on what was trained on and not on held-out examples. Default: 0.25.
    public var maximumOverfit: Double
    /// The share that the order of the words must save on the user's texts; 0 switches this off, for languages that
    /// the base does not know. Default: 0.07.
    public var minimumWordOrder: Double

    /// When the result of a session may come into use.
    ///
    /// - Parameters:
    ///   - minimumHeldOut: Held-out examples without which nothing is promoted.
    ///   - minimumGain: The share of the loss on held-out examples that must be saved.
    ///   - minimumGainOnCurrent: The same compared with the graft in use.
    ///   - maximumForgetting: The share by which the loss on general texts may rise.
    ///   - maximumOverfit: The share that may be saved on trained examples alone.
    ///   - minimumWordOrder: The share that the order of the words must save.
    public init(
        minimumHeldOut: Int = 4, minimumGain: Double = 0.01, minimumGainOnCurrent: Double = 0.002,
        maximumForgetting: Double = 0.2, maximumOverfit: Double = 0.25, minimumWordOrder: Double = 0.07
    ) {
        self.minimumHeldOut = minimumHeldOut
        self.minimumGain = minimumGain
        self.minimumGainOnCurrent = minimumGainOnCurrent
        self.maximumForgetting = maximumForgetting
        self.maximumOverfit = maximumOverfit
        self.minimumWordOrder = minimumWordOrder
    }

    func ffi() throws -> FFI.GateSettings {
        FFI.GateSettings(
            minHeldOut: try unsigned(minimumHeldOut, "minimumHeldOut"),
            minGain: minimumGain,
            minGainOnCurrent: minimumGainOnCurrent,
            maxForgetting: maximumForgetting,
            maxOverfit: maximumOverfit,
            minWordOrder: minimumWordOrder)
    }
}

/// Which matrices of a layer are adapted.
public struct AdapterTargets: RawRepresentable, Sendable, Hashable {
    /// All matrices that a layer of the model has.
    public static let all = AdapterTargets(rawValue: "all")
    /// The matrices of the attention.
    public static let attention = AdapterTargets(rawValue: "attn")
    /// The matrices of the feed-forward part.
    public static let feedForward = AdapterTargets(rawValue: "mlp")

    /// As GGUF names them: `all`, `attn`, `mlp`, or a list such as `attn_q,attn_v`.
    public let rawValue: String

    /// The matrices with these names.
    ///
    /// - Parameter rawValue: `all`, `attn`, `mlp`, or a list such as `attn_q,attn_v`.
    public init(rawValue: String) {
        self.rawValue = rawValue
    }
}

/// What computes in a session.
public enum ComputeDevice: Sendable, Hashable {
    /// The processor's cores.
    case processor
    /// A GPU that has shown that it computes right and faster than the processor, else the processor. On iOS it is the processor:
    /// sessions run in the background, where apps have no GPU.
    case automatic
    /// The GPU with this number, or the first that can be used; for slices in the foreground, because iOS ends apps that use the GPU in
    /// the background. If it computes wrong, fails or is not there, the session goes on
    /// with the processor, and ``TrainingProgress/warning`` says why.
    case gpu(number: Int? = nil)

    var text: String {
        get throws {
            switch self {
            case .processor: return "cpu"
            case .automatic: return "auto"
            case .gpu(nil): return "gpu"
            case .gpu(let number?):
                let number: UInt32 = try unsigned(number, "number")
                return "gpu:\(number)"
            }
        }
    }
}

/// Which layers are adapted.
public enum AdapterLayers: Sendable, Hashable {
    /// All of them.
    case all
    /// The topmost ones; training is faster, because the backward pass stops below them.
    case last(Int)
    /// These, counted from 0 at the bottom.
    case range(Range<Int>)

    var text: String {
        switch self {
        case .all: "all"
        case .last(let count): "last:\(count)"
        case .range(let range): "\(range.lowerBound)..\(range.upperBound)"
        }
    }
}
