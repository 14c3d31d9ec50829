/// A running slice or night: its progress, one after another, and at the end its outcome.
///
/// ```swift
/// let slice = session.slice(for: .seconds(300))
/// for try await progress in slice {
///     print(progress.fractionCompleted)
/// }
/// if case .finished(let report) = try await slice.outcome {
///     print(report.verdict.text)
/// }
/// ```
///
/// Leaving the loop early, cancelling the task that loops, or dropping the slice stops the work, saved. Loop over a slice
/// once. A loop that is slow misses some of the progress, never the last one.
public struct Slice: AsyncSequence, Sendable {
    /// What the sequence is made of.
    public typealias Element = TrainingProgress

    private let streamingTask: StreamingTask<TrainingProgress, SliceOutcome>

    init(work: @escaping @Sendable (@escaping @Sendable (TrainingProgress) -> Void) async throws -> SliceOutcome) {
        streamingTask = StreamingTask(buffering: .bufferingNewest(32), work: work)
    }

    /// How the slice ended; waits until it does. A caller whose task is cancelled stops the slice.
    ///
    /// Throws ``NightgraftError``.
    public var outcome: SliceOutcome {
        get async throws { try await streamingTask.output }
    }

    /// Stops the slice, saved. ``outcome`` says when that is done.
    public func stop() {
        streamingTask.stop()
    }

    /// Begins the loop.
    ///
    /// - Returns: The iterator, which stops the slice when it is dropped.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(subscription: StreamSubscription(to: streamingTask))
    }

    /// The position of a loop over a slice.
    public struct AsyncIterator: AsyncIteratorProtocol, Sendable {
        let subscription: StreamSubscription<TrainingProgress, SliceOutcome>

        /// The next progress.
        ///
        /// - Returns: `nil` when the slice has ended.
        /// - Throws: ``NightgraftError``.
        public mutating func next() async throws -> TrainingProgress? {
            try await subscription.next()
        }
    }
}
