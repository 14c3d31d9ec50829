import Foundation
import Nightgraft
import Observation

/// The sample app without its views: notes that the model learns tonight, and a question that is asked before and
/// after.
@MainActor
@Observable
public final class Notebook {
    /// What is open.
    public typealias Opened = (model: BaseModel, store: AdapterStore, session: PersonalizationSession)

    /// What the app is doing.
    public enum Activity: Sendable, Equatable {
        /// It waits for the user.
        case idle
        /// It opens the model and the store.
        case opening
        /// It learns the notes; the share of the steps that is done.
        case training(Double)
        /// It answers.
        case answering
    }

    /// The question and its answer in the note to be added.
    public var question = ""
    /// The answer that the model shall learn.
    public var answer = ""
    /// The question to ask.
    public var test = ""
    /// The notes that are stored, oldest first.
    public private(set) var notes: [StoredExample] = []
    /// What the base says.
    public private(set) var before = ""
    /// What the model says with the graft in use.
    public private(set) var after = ""
    /// What the app is doing.
    public private(set) var activity = Activity.idle
    /// What happened last, for the user.
    public private(set) var status = ""

    private let modelURL: URL
    private let folder: URL
    private let key: @Sendable () throws -> StoreKey
    private let settings: SessionSettings
    private var opened: Opened?
    private var opening: Task<Opened, any Error>?
    private var generator: Generator?
    private var slice: Slice?

    /// A notebook that opens its files when they are needed.
    ///
    /// - Parameters:
    ///   - modelURL: The GGUF file.
    ///   - folder: Where the store is.
    ///   - settings: How to train.
    ///   - key: The store's key.
    public init(
        modelURL: URL, folder: URL, settings: SessionSettings = SessionSettings(),
        key: @escaping @Sendable () throws -> StoreKey
    ) {
        self.modelURL = modelURL
        self.folder = folder
        self.settings = settings
        self.key = key
    }

    /// Shows the notes that are there.
    public func appear() async {
        await reporting { _ = try await self.open() }
    }

    /// Adds the note that is being written.
    public func addNote() async {
        let note = Example.chat(question: question, answer: answer)
        guard !question.isEmpty, !answer.isEmpty else { return }
        await reporting {
            let (_, store, _) = try await self.open()
            try await store.add([note])
            self.notes = try await store.examples()
            self.question = ""
            self.answer = ""
        }
    }

    /// Deletes notes: their text is gone from the store at once.
    public func delete(_ ids: [StoredExample.ID]) async {
        await reporting {
            let (_, store, _) = try await self.open()
            let report = try await store.delete(ids)
            self.notes = try await store.examples()
            self.status =
                report.markedGrafts.isEmpty ? "" : "The model still knows something of it until it is trained anew."
        }
    }

    /// Learns the notes now, while the app is in front.
    public func train() async {
        await reporting {
            let (_, _, session) = try await self.open()
            let slice = session.slice()
            self.slice = slice
            defer { self.slice = nil }
            for try await progress in slice {
                self.activity = .training(progress.fractionCompleted)
            }
            self.status = Self.sentence(for: try await slice.outcome)
        }
    }

    /// Stops the training; what is done stays done.
    public func stop() {
        slice?.stop()
    }

    /// Asks the base and the personalized model.
    public func ask() async {
        let question = test
        guard !question.isEmpty else { return }
        await reporting {
            let (model, store, _) = try await self.open()
            self.activity = .answering
            let generator = try await self.generator(for: model)
            let options = ChatOptions(maximumTokens: 80)
            self.before = ""
            self.after = ""
            try await generator.useBase()
            for try await piece in generator.streamAnswer(to: question, options: options) {
                self.before += piece
            }
            guard try await generator.useCurrentGraft(of: store) != nil else {
                self.status = "Nothing is learned yet."
                return
            }
            for try await piece in generator.streamAnswer(to: question, options: options) {
                self.after += piece
            }
        }
    }

    /// Opens model, store and session, once: whoever comes while they are being opened waits for the same three.
    ///
    /// - Returns: The three.
    /// - Throws: `NightgraftError`.
    public func open() async throws -> Opened {
        if let opened {
            return opened
        }
        let task = opening ?? Task { try await self.openFiles() }
        opening = task
        defer { opening = nil }
        return try await task.value
    }

    private func openFiles() async throws -> Opened {
        let model = try await BaseModel(contentsOf: modelURL)
        let store = try await AdapterStore(at: ProtectedFolder.prepare(folder), key: try key())
        let session = try await PersonalizationSession(model: model, store: store, settings: settings)
        notes = try await store.examples()
        opened = (model, store, session)
        return (model, store, session)
    }

    private func generator(for model: BaseModel) async throws -> Generator {
        if let generator {
            return generator
        }
        let made = try await Generator(model: model)
        generator = made
        return made
    }

    /// Runs what the user asked for, unless something runs already, and tells of errors.
    private func reporting(_ work: () async throws -> Void) async {
        guard activity == .idle else { return }
        activity = .opening
        status = ""
        do {
            try await work()
        } catch {
            status = Self.sentence(for: error)
        }
        activity = .idle
    }

    /// A note as the list shows it.
    ///
    /// - Parameter note: The note.
    /// - Returns: Its question and its answer.
    public static func line(for note: StoredExample) -> String {
        guard case .chat(let turns) = note.example else { return "" }
        return turns.map(\.content).joined(separator: " – ")
    }

    private static func sentence(for outcome: SliceOutcome) -> String {
        switch outcome {
        case .paused: "It will go on from here."
        case .finished(let report) where report.promoted: "Learned \(report.trained) notes."
        case .finished: "The result was no better, so nothing has changed."
        case .nothingToDo(.tooFew(let have, let need), _): "\(need - have) more notes are needed."
        case .nothingToDo: "There is nothing new to learn."
        }
    }

    private static func sentence(for error: any Error) -> String {
        switch error {
        case NightgraftError.storageFull: "The device is full."
        case NightgraftError.outOfMemoryBudget: "This device has too little memory for this model."
        case NightgraftError.storeLocked: "The notes are in use already."
        case NightgraftError.wrongKey, NightgraftError.corrupted: "The notes cannot be read."
        default: "That did not work."
        }
    }
}
