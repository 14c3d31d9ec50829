import Foundation
internal import NightgraftGenerated

/// Answers from the model, with or without a graft.
///
/// The base stays loaded while grafts are exchanged under it. A generator runs beside a session, on a thread of its own;
/// its answers come one after another.
///
/// ```swift
/// let generator = try await Generator(model: model)
/// try await generator.useCurrentGraft(of: store)
/// for try await piece in generator.streamAnswer(to: "Who feeds the cat?") {
///     print(piece, terminator: "")
/// }
/// ```
public final class Generator: Sendable {
    private let handle: FFI.Generator
    private let mutex = AsyncMutex()

    /// Loads a model for answers. Until told otherwise it answers as the base.
    ///
    /// - Parameters:
    ///   - model: The model.
    ///   - threads: Threads to compute with; `nil` for as many as the device has fast cores.
    /// - Throws: ``NightgraftError``.
    public init(model: BaseModel, threads: Int? = nil) async throws {
        let converted: UInt32? = try unsigned(threads, "threads")
        handle = try await translating { try await FFI.Generator.open(model: model.handle, threads: converted) }
    }

    // MARK: Which graft

    /// Answers with the graft that is in use in a store; the base itself if none is.
    ///
    /// - Parameter store: The store.
    /// - Returns: The graft, or `nil` for the base.
    /// - Throws: ``NightgraftError``.
    @discardableResult
    public func useCurrentGraft(of store: AdapterStore) async throws -> Graft.ID? {
        try await translating { try await handle.useCurrent(store: store.handle) }
    }

    /// Answers with one of a store's grafts, whether it is in use or not.
    ///
    /// - Parameters:
    ///   - graft: The graft's number.
    ///   - store: The store.
    /// - Throws: ``NightgraftError``.
    public func use(_ graft: Graft.ID, of store: AdapterStore) async throws {
        try await translating { try await handle.useGraft(store: store.handle, id: graft) }
    }

    /// Answers with an adapter from elsewhere.
    ///
    /// - Parameter url: A folder as PEFT writes it, or a llama.cpp file.
    /// - Throws: ``NightgraftError``.
    public func useAdapter(at url: URL) async throws {
        let path = try url.filePath()
        try await translating { try await handle.useAdapter(path: path) }
    }

    /// Answers with the base alone.
    ///
    /// - Throws: ``NightgraftError``.
    public func useBase() async throws {
        try await translating { try await handle.useBase() }
    }

    // MARK: Answers

    /// Answers a question.
    ///
    /// - Parameters:
    ///   - question: What the user says.
    ///   - options: How long and how freely.
    /// - Returns: The answer.
    /// - Throws: ``NightgraftError``, or `CancellationError` if the task is cancelled.
    public func answer(to question: String, options: ChatOptions = ChatOptions()) async throws -> Answer {
        try await answer(to: [.user(question)], options: options)
    }

    /// Answers in a conversation.
    ///
    /// Cancelling the task ends the answer with a `CancellationError`. After ``stop()`` what there is of it is returned, with
    /// ``Answer/stopped`` set.
    ///
    /// - Parameters:
    ///   - conversation: The turns so far, the last of them the user's.
    ///   - options: How long and how freely.
    ///   - onText: Called with each piece of the answer, from a thread of the library. If it throws, the answer ends, and
    ///     the same error is thrown to the caller.
    /// - Returns: The answer.
    /// - Throws: ``NightgraftError``, what `onText` throws, or `CancellationError` if the task is cancelled.
    public func answer(
        to conversation: [Message], options: ChatOptions = ChatOptions(),
        onText: (@Sendable (String) throws -> Void)? = nil
    ) async throws -> Answer {
        try await partialAnswer(to: conversation, options: options, onText: onText).unlessCancelled()
    }

    /// Goes on with a text, without the form of a conversation.
    ///
    /// - Parameters:
    ///   - prompt: The text so far.
    ///   - options: How long and how freely.
    ///   - onText: As in ``answer(to:options:onText:)``.
    /// - Returns: What comes after the prompt.
    /// - Throws: ``NightgraftError``, what `onText` throws, or `CancellationError` if the task is cancelled.
    public func completion(
        of prompt: String, options: ChatOptions = ChatOptions(), onText: (@Sendable (String) throws -> Void)? = nil
    ) async throws -> Answer {
        try await partialCompletion(of: prompt, options: options, onText: onText).unlessCancelled()
    }

    /// Answers a question piece by piece.
    ///
    /// - Parameters:
    ///   - question: What the user says.
    ///   - options: How long and how freely.
    /// - Returns: The pieces. The answer ends when the loop over them is left or nobody holds them any more.
    public func streamAnswer(to question: String, options: ChatOptions = ChatOptions()) -> AnswerStream {
        streamAnswer(to: [.user(question)], options: options)
    }

    /// Answers in a conversation, piece by piece.
    ///
    /// - Parameters:
    ///   - conversation: The turns so far, the last of them the user's.
    ///   - options: How long and how freely.
    /// - Returns: The pieces. The answer ends when the loop over them is left or nobody holds them any more.
    public func streamAnswer(to conversation: [Message], options: ChatOptions = ChatOptions()) -> AnswerStream {
        AnswerStream { [self] tell in
            try await partialAnswer(to: conversation, options: options, onText: tell)
        }
    }

    /// Goes on with a text, piece by piece, without the form of a conversation.
    ///
    /// - Parameters:
    ///   - prompt: The text so far.
    ///   - options: How long and how freely.
    /// - Returns: The pieces.
    public func streamCompletion(of prompt: String, options: ChatOptions = ChatOptions()) -> AnswerStream {
        AnswerStream { [self] tell in
            try await partialCompletion(of: prompt, options: options, onText: tell)
        }
    }

    /// Ends the answer that is being made, from any thread.
    public func stop() {
        handle.stop()
    }

    /// The answer, or what there is of it when the task is cancelled.
    private func partialAnswer(
        to conversation: [Message], options: ChatOptions, onText: (@Sendable (String) throws -> Void)?
    ) async throws -> Answer {
        let converted = try options.ffi()
        let messages = conversation.map(\.ffi)
        return try await pass(onText) { handle, listener in
            try await handle.chat(messages: messages, options: converted, listener: listener)
        }
    }

    private func partialCompletion(
        of prompt: String, options: ChatOptions, onText: (@Sendable (String) throws -> Void)?
    ) async throws -> Answer {
        let converted = try options.ffi()
        return try await pass(onText) { handle, listener in
            try await handle.complete(prompt: prompt, options: converted, listener: listener)
        }
    }

    private func pass(
        _ onText: (@Sendable (String) throws -> Void)?,
        work: (FFI.Generator, any FFI.TextListener) async throws -> FFI.Answer
    ) async throws -> Answer {
        let handle = handle
        let stop: @Sendable () -> Void = { handle.stop() }
        let answer = try await mutex.withLock(stop: stop) { stopped in
            let listener = Listener(handler: onText, stopped: stopped, stop: stop)
            do {
                return Answer(try await translating { try await work(handle, listener) })
            } catch {
                throw listener.appError ?? error
            }
        }
        return answer ?? .empty
    }
}
