import Foundation
internal import NightgraftGenerated

/// The models that are known to be trainable, and where to get them. Any other GGUF file may do as well.
public enum ModelCatalog {
    /// All of them, the smallest first.
    public static let models: [PublishedModel] = NightgraftGenerated.publishedModels().compactMap(PublishedModel.init)

    /// The model of a short name, such as `smollm2-135m`.
    ///
    /// - Parameter name: The name.
    /// - Returns: The model; `nil` if there is none of that name.
    public static func model(named name: String) -> PublishedModel? {
        models.first { $0.name == name }
    }
}

/// A model that can be downloaded.
public struct PublishedModel: Sendable, Hashable {
    /// Its short name.
    public let name: String
    /// What it is, in a few words of English.
    public let description: String
    /// Where the file can be downloaded.
    public let url: URL
    /// The file's own name.
    public let fileName: String
    /// Its size in bytes.
    public let bytes: Int
    /// Its SHA-256, in hexadecimal digits.
    public let sha256: String
    /// The terms that it is under, by their SPDX identifier.
    public let licence: String
    /// The longest text, in tokens, that the model was trained with.
    public let context: Int
    /// Bytes that training takes besides the mapped file, with the default settings and 256 tokens at a time; `nil` where it
    /// is not known.
    /// ``Planner/memory(for:)`` says it for a model that is there.
    public let memoryToTrain: Int?

    /// Returns if a download is this model, whole. See ``BaseModel/verify(contentsOf:bytes:sha256:onBytes:)``.
    ///
    /// - Parameters:
    ///   - download: The file.
    ///   - onBytes: Called with the bytes read so far, from a thread of the library. If it throws, the reading ends.
    /// - Throws: ``NightgraftError/invalidModel(reason:)`` if it is not: download it again.
    public func verify(_ download: URL, onBytes: (@Sendable (Int) throws -> Void)? = nil) async throws {
        try await BaseModel.verify(contentsOf: download, bytes: bytes, sha256: sha256, onBytes: onBytes)
    }

    /// Checks a download and moves it to its place, where it appears whole or not at all. A model that is in use must not be
    /// replaced; see ``BaseModel``.
    ///
    /// - Parameters:
    ///   - download: The file. One that is not this model is removed.
    ///   - place: Where it goes, on the same disk.
    /// - Throws: ``NightgraftError/invalidModel(reason:)`` if it is not this model: download it again.
    public func install(_ download: URL, at place: URL) async throws {
        do {
            try await verify(download)
        } catch NightgraftError.invalidModel(let reason) {
            try? FileManager.default.removeItem(at: download)
            throw NightgraftError.invalidModel(reason: reason)
        }
        try FileManager.default.moveItem(at: download, to: place)
    }
}

extension BaseModel {
    /// Reads all of a downloaded file and compares it with what was published; returns if it is the same. Cancelling the task
    /// stops the reading.
    ///
    /// - Parameters:
    ///   - url: The file.
    ///   - bytes: The size that it must have, which is looked at first.
    ///   - sha256: The SHA-256 that it must have, in 64 hexadecimal digits.
    ///   - onBytes: Called with the bytes read so far, from a thread of the library. If it throws, the reading ends, and
    ///     the same error is thrown to the caller.
    /// - Throws: ``NightgraftError/invalidModel(reason:)`` if the file is missing, incomplete or another one: download it
    ///   again. `CancellationError`, or what `onBytes` throws.
    public static func verify(
        contentsOf url: URL, bytes: Int, sha256: String, onBytes: (@Sendable (Int) throws -> Void)? = nil
    ) async throws {
        let path = try url.filePath()
        let size: UInt64 = try unsigned(bytes, "bytes")
        let cancelled = Flag()
        let relay = BytesRelay(handler: onBytes, cancelled: cancelled)
        try await withTaskCancellationHandler {
            do {
                try await translating {
                    try await NightgraftGenerated.verifyModel(
                        path: path, bytes: size, sha256: sha256, listener: relay)
                }
            } catch {
                throw relay.appError ?? error
            }
        } onCancel: {
            cancelled.raise()
        }
        try Task.checkCancellation()
    }
}

/// Hands a count to the app, and ends the reading when the app throws or does not wait any more.
private final class BytesRelay: FFI.BytesListener {
    private let handler: (@Sendable (Int) throws -> Void)?
    private let cancelled: Flag
    private let thrown = Locked<(any Error)?>(nil)

    init(handler: (@Sendable (Int) throws -> Void)?, cancelled: Flag) {
        self.handler = handler
        self.cancelled = cancelled
    }

    /// Why the reading was ended.
    var appError: (any Error)? {
        thrown.withLock { $0 }
    }

    func onBytes(read: UInt64) throws {
        do {
            if cancelled.isRaised {
                throw CancellationError()
            }
            try handler?(Int(clamping: read))
        } catch {
            thrown.withLock { $0 = $0 ?? error }
            throw FFI.ListenerError.Failed(reason: "the app's listener threw an error")
        }
    }
}

extension PublishedModel {
    init?(_ model: FFI.PublishedModel) {
        guard let url = URL(string: model.url) else { return nil }
        name = model.name
        description = model.description
        self.url = url
        fileName = model.file
        bytes = Int(clamping: model.bytes)
        sha256 = model.sha256
        licence = model.licence
        context = Int(model.context)
        memoryToTrain = model.memoryToTrain.map { Int(clamping: $0) }
    }
}
