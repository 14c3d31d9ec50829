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
    /// nil for a role that is none of ``Role``.
    init?(_ message: FFI.Message) {
        guard let role = Role(rawValue: message.role) else { return nil }
        self.init(role: role, content: message.content)
    }

    var ffi: FFI.Message {
        FFI.Message(role: role.rawValue, content: content)
    }
}

extension Example {
    /// nil for a conversation that has other roles, as files may bring in.
    init?(_ example: FFI.Example) {
        switch example {
        case .chat(let messages):
            let turns = messages.compactMap { Message($0) }
            guard turns.count == messages.count else { return nil }
            self = .chat(turns)
        case .completion(let prompt, let completion): self = .completion(prompt: prompt, completion: completion)
        case .text(let text): self = .text(text)
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
