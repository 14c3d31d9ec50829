import Foundation
internal import NightgraftGenerated

/// Something to learn from.
public enum Example: Sendable, Hashable {
    /// A conversation. The model learns every turn of the assistant, and sees the others.
    case chat([Message])
    /// The model sees the prompt and learns the completion.
    case completion(prompt: String, completion: String)
    /// The model learns the whole text.
    case text(String)

    /// A conversation of one question and one answer.
    ///
    /// - Parameters:
    ///   - question: What the user says.
    ///   - answer: What the assistant shall learn to say.
    /// - Returns: The example.
    public static func chat(question: String, answer: String) -> Example {
        .chat([.user(question), .assistant(answer)])
    }
}

/// A turn of a conversation.
public struct Message: Sendable, Hashable, Codable {
    /// Who speaks.
    public enum Role: String, Sendable, Hashable, Codable, CaseIterable {
        /// Instructions for the whole conversation.
        case system
        /// The person.
        case user
        /// The model.
        case assistant
    }

    /// Who speaks.
    public var role: Role
    /// What is said.
    public var content: String

    /// A turn of a conversation.
    ///
    /// - Parameters:
    ///   - role: Who speaks.
    ///   - content: What is said.
    public init(role: Role, content: String) {
        self.role = role
        self.content = content
    }

    /// Instructions for the whole conversation.
    ///
    /// - Parameter content: What is said.
    /// - Returns: The turn.
    public static func system(_ content: String) -> Message {
        Message(role: .system, content: content)
    }

    /// A turn of the person.
    ///
    /// - Parameter content: What is said.
    /// - Returns: The turn.
    public static func user(_ content: String) -> Message {
        Message(role: .user, content: content)
    }

    /// A turn of the model.
    ///
    /// - Parameter content: What is said.
    /// - Returns: The turn.
    public static func assistant(_ content: String) -> Message {
        Message(role: .assistant, content: content)
    }
}

extension Message {
    var ffi: FFI.Message {
        FFI.Message(role: role.rawValue, content: content)
    }
}

extension Example {
    /// The keys of an example's line of JSON.
    private struct Line: Decodable {
        let messages: [Message]?
        let prompt: String?
        let completion: String?
        let text: String?
    }

    /// The example of a line of JSON; nil if it is of another kind.
    init?(json: String) {
        guard let line = try? JSONDecoder().decode(Line.self, from: Data(json.utf8)) else { return nil }
        switch (line.messages, line.prompt, line.completion, line.text) {
        case (let messages?, nil, nil, nil): self = .chat(messages)
        case (nil, let prompt?, let completion?, nil): self = .completion(prompt: prompt, completion: completion)
        case (nil, nil, nil, let text?): self = .text(text)
        default: return nil
        }
    }

    var ffi: FFI.Example {
        switch self {
        case .chat(let messages): .chat(messages: messages.map(\.ffi))
        case .completion(let prompt, let completion): .completion(prompt: prompt, completion: completion)
        case .text(let text): .text(text: text)
        }
    }
}
