import Foundation
internal import NightgraftGenerated

/// A language model on this device: a GGUF file, mapped and never changed.
///
/// While it is in use the file must stay as it is. Download a new model beside it, under another name, and rename it when
/// nothing uses the old one: a file that is written in place, replaced or removed ends the work with
/// ``NightgraftError/modelChanged(reason:)``, and everything saved.
///
/// Opening checks the file. The model is shared: a ``PersonalizationSession``, a ``Generator`` and a ``Planner`` may
/// use one `BaseModel` at the same time, and it is closed when the last of them is gone.
public final class BaseModel: Sendable {
    let handle: FFI.Model

    /// What the file says about the model.
    public let info: ModelInfo

    /// Opens a GGUF file and checks it.
    ///
    /// - Parameter url: The file, on a local disk.
    /// - Throws: ``NightgraftError/invalidModel(reason:)``.
    public init(contentsOf url: URL) async throws {
        let path = try url.filePath()
        handle = try await translating { try await FFI.Model.open(path: path) }
        info = ModelInfo(handle.info())
    }

    /// Cuts a text into the model's tokens.
    ///
    /// - Parameter text: Any text; nothing is added to it.
    /// - Returns: The tokens in their order.
    /// - Throws: ``NightgraftError``.
    public func tokenize(_ text: String) async throws -> [Token] {
        try await translating { try await handle.tokenize(text: text).map(Token.init) }
    }
}

/// What a model's file says about it.
public struct ModelInfo: Sendable, Hashable {
    /// The file.
    public let url: URL
    /// The file's size in bytes.
    public let bytes: Int
    /// The family that the model belongs to, such as `llama`.
    public let architecture: String
    /// The name that its makers gave it.
    public let name: String?
    /// The number of weights.
    public let parameters: Int
    /// The number of layers.
    public let layers: Int?
    /// The longest text, in tokens, that the model was trained with.
    public let context: Int?
    /// The number of different tokens.
    public let vocabulary: Int?
    /// Whether the file knows how a conversation is written for this model.
    public let hasChatTemplate: Bool
    /// A digest that tells models apart. Grafts remember that of the model they belong to.
    public let fingerprint: String
    /// Why this model can be read and cannot be trained; `nil` if it can.
    public let notTrainable: String?
}

/// A piece of text as a model sees it.
public struct Token: Sendable, Hashable, Identifiable {
    /// The token's number in the vocabulary.
    public let id: Int
    /// The token as text; several tokens may share one character.
    public let text: String
}

extension ModelInfo {
    init(_ info: FFI.ModelInfo) {
        url = URL(fileURLWithPath: info.path)
        bytes = Int(clamping: info.bytes)
        architecture = info.architecture
        name = info.name
        parameters = Int(clamping: info.parameters)
        layers = info.layers.map { Int($0) }
        context = info.context.map { Int($0) }
        vocabulary = info.vocabulary.map { Int($0) }
        hasChatTemplate = info.hasChatTemplate
        fingerprint = info.fingerprint
        notTrainable = info.notTrainable
    }
}

extension Token {
    init(_ token: FFI.Token) {
        id = Int(token.id)
        text = token.text
    }
}
