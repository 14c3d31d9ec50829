/// Work that goes on in a task of its own and tells how it goes. It is stopped when nobody is interested any more.
final class StreamingTask<Element: Sendable, Output: Sendable>: Sendable {
    typealias Tell = @Sendable (Element) -> Void

    private let elements: AsyncStream<Element>
    private let task: Task<Output, any Error>

    init(
        buffering: AsyncStream<Element>.Continuation.BufferingPolicy,
        work: @escaping @Sendable (@escaping Tell) async throws -> Output
    ) {
        let (elements, continuation) = AsyncStream.makeStream(of: Element.self, bufferingPolicy: buffering)
        self.elements = elements
        task = Task {
            defer { continuation.finish() }
            return try await work { continuation.yield($0) }
        }
    }

    deinit {
        task.cancel()
    }

    /// Asks the work to end. It does so soon, with everything saved.
    func stop() {
        task.cancel()
    }

    /// What the work comes to. A caller that is cancelled stops the work.
    var output: Output {
        get async throws {
            try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        }
    }

    /// The next element; nil when the work has ended. Throws what the work throws.
    func next() async throws -> Element? {
        let element = await withTaskCancellationHandler {
            var iterator = elements.makeAsyncIterator()
            return await iterator.next()
        } onCancel: {
            task.cancel()
        }
        if let element {
            return element
        }
        _ = try await output
        return nil
    }
}

/// One loop over a `StreamingTask`'s elements: when the loop is left, the work is stopped.
final class StreamSubscription<Element: Sendable, Output: Sendable>: Sendable {
    private let streamingTask: StreamingTask<Element, Output>

    init(to streamingTask: StreamingTask<Element, Output>) {
        self.streamingTask = streamingTask
    }

    deinit {
        streamingTask.stop()
    }

    func next() async throws -> Element? {
        try await streamingTask.next()
    }
}
