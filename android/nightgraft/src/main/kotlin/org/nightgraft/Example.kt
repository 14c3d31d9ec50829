package org.nightgraft

import org.nightgraft.ffi.Example as FfiExample
import org.nightgraft.ffi.Message as FfiMessage

/** Something to learn from. It is kept in the store until it is deleted, and never leaves the device. */
public sealed interface Example {
    /**
     * A conversation. Every turn of the assistant is learned; what the others say is read only.
     *
     * @property messages the turns in their order, with at least one of the assistant
     */
    public data class Chat(val messages: List<Message>) : Example

    /**
     * A beginning and how it goes on; the second part is learned.
     *
     * @property prompt what comes before, and is read only
     * @property completion what is learned
     */
    public data class Completion(val prompt: String, val completion: String) : Example

    /**
     * A text that is learned from its first word to its last.
     *
     * @property text the text
     */
    public data class Text(val text: String) : Example

    /** Makes examples of the common kinds. */
    public companion object {
        /** A question and the [answer] that the model should learn to give. */
        public fun answer(question: String, answer: String): Chat =
            Chat(listOf(Message.user(question), Message.assistant(answer)))
    }
}

/**
 * A turn of a conversation.
 *
 * @property role who speaks
 * @property content what is said
 */
public data class Message(val role: Role, val content: String) {
    /** Makes messages by their role. */
    public companion object {
        /** What the app tells the model before the conversation. */
        public fun system(content: String): Message = Message(Role.SYSTEM, content)

        /** What the person says. */
        public fun user(content: String): Message = Message(Role.USER, content)

        /** What the model says. */
        public fun assistant(content: String): Message = Message(Role.ASSISTANT, content)
    }
}

/** Who speaks in a conversation. */
public enum class Role {
    /** The app, before the conversation. */
    SYSTEM,

    /** The person. */
    USER,

    /** The model. */
    ASSISTANT,
}

internal fun Message.toFfi() = FfiMessage(role.name.lowercase(), content)

/** Null for a conversation in which somebody speaks whom [Role] does not have. */
internal fun FfiExample.toPublic(): Example? =
    when (this) {
        is FfiExample.Chat -> messages.mapNotNull { it.toPublic() }.takeIf { it.size == messages.size }?.let(Example::Chat)
        is FfiExample.Completion -> Example.Completion(prompt, completion)
        is FfiExample.Text -> Example.Text(text)
    }

private fun FfiMessage.toPublic(): Message? =
    Role.entries.find { it.name.lowercase() == role }?.let { Message(it, content) }

internal fun Example.toFfi(): FfiExample =
    when (this) {
        is Example.Chat -> FfiExample.Chat(messages.map { it.toFfi() })
        is Example.Completion -> FfiExample.Completion(prompt, completion)
        is Example.Text -> FfiExample.Text(text)
    }
