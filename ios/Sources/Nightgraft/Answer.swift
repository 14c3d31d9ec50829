internal import NightgraftGenerated

/// How an answer is made.
public struct ChatOptions: Sendable, Hashable {
    /// The most tokens that it may have. Default: 256.
    public var maximumTokens: Int
    /// 0 always takes the likeliest token; higher values choose more freely. Default: 0.
    public var temperature: Float
    /// The seed of that choice. Default: 0.
    public var seed: UInt32

    /// How an answer is made.
    ///
    /// - Parameters:
    ///   - maximumTokens: The most tokens that it may have.
    ///   - temperature: How freely it chooses.
    ///   - seed: The seed of that choice.
    public init(maximumTokens: Int = 256, temperature: Float = 0, seed: UInt32 = 0) {
        self.maximumTokens = maximumTokens
        self.temperature = temperature
        self.seed = seed
    }

    func ffi() throws -> FFI.ChatOptions {
        FFI.ChatOptions(
            maxTokens: try unsigned(maximumTokens, "maximumTokens"), temperature: temperature, seed: seed)
    }
}

/// What the model said.
public struct Answer: Sendable, Hashable {
    /// The text.
    public let text: String
    /// Tokens of the text.
    public let tokens: Int
    /// Tokens of the question, with what a conversation puts around it.
    public let promptTokens: Int
    /// The time that it took.
    public let duration: Duration
    /// Whether it was stopped before it was over.
    public let stopped: Bool
}

extension Answer {
    /// What there is of an answer that was stopped before its turn.
    static let empty = Answer(text: "", tokens: 0, promptTokens: 0, duration: .zero, stopped: true)

    init(_ answer: FFI.Answer) {
        text = answer.text
        tokens = Int(answer.tokens)
        promptTokens = Int(answer.promptTokens)
        duration = Nightgraft.duration(seconds: answer.seconds) ?? .zero
        stopped = answer.stopped
    }

    /// The same answer, unless it has an end because this task is cancelled.
    func unlessCancelled() throws -> Answer {
        if stopped {
            try Task.checkCancellation()
        }
        return self
    }
}

/// An answer in the making: its pieces, one after another, and at the end the whole.
///
/// Leaving the loop early, cancelling the task that loops, or dropping the stream ends the answer. Loop over it once. A task
/// that is cancelled gets a `CancellationError`.
public struct AnswerStream: AsyncSequence, Sendable {
    /// What the sequence is made of.
    public typealias Element = String

    private let streamingTask: StreamingTask<String, Answer>

    init(work: @escaping @Sendable (@escaping @Sendable (String) -> Void) async throws -> Answer) {
        streamingTask = StreamingTask(buffering: .unbounded, work: work)
    }

    /// The whole answer, or what there is of it after ``stop()`` or when the loop was left; waits until it is there.
    ///
    /// Throws ``NightgraftError``, or `CancellationError` to a caller whose task is cancelled, which ends the answer.
    public var answer: Answer {
        get async throws { try await streamingTask.output.unlessCancelled() }
    }

    /// Ends the answer.
    public func stop() {
        streamingTask.stop()
    }

    /// Begins the loop.
    ///
    /// - Returns: The iterator, which ends the answer when it is dropped.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(subscription: StreamSubscription(to: streamingTask))
    }

    /// The position of a loop over an answer.
    public struct AsyncIterator: AsyncIteratorProtocol, Sendable {
        let subscription: StreamSubscription<String, Answer>

        /// The next piece of text.
        ///
        /// - Returns: `nil` when the answer is over.
        /// - Throws: ``NightgraftError``, or `CancellationError` if the task is cancelled.
        public mutating func next() async throws -> String? {
            let piece = try await subscription.next()
            if piece == nil {
                try Task.checkCancellation()
            }
            return piece
        }
    }
}
