package org.nightgraft.testing

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.asFlow
import org.nightgraft.Answer
import org.nightgraft.ChatOptions
import org.nightgraft.ForTests
import org.nightgraft.Message
import org.nightgraft.TextGenerator

/** A generator without a model, which writes what [reply] says to a conversation, or to a prompt as the only message of one. */
@OptIn(ForTests::class)
public class ScriptedGenerator(private val reply: (List<Message>) -> String) : TextGenerator {
    override fun chat(messages: List<Message>, options: ChatOptions): Flow<String> = pieces(reply(messages)).asFlow()

    override suspend fun answer(
        messages: List<Message>,
        options: ChatOptions,
        onText: ((String) -> Unit)?,
    ): Answer {
        val text = reply(messages)
        pieces(text).forEach { onText?.invoke(it) }
        return Answer.of(text)
    }

    override fun complete(prompt: String, options: ChatOptions): Flow<String> = chat(conversation(prompt), options)

    override suspend fun completion(prompt: String, options: ChatOptions, onText: ((String) -> Unit)?): Answer =
        answer(conversation(prompt), options, onText)

    override fun stop(): Unit = Unit

    override fun close(): Unit = Unit

    private fun conversation(prompt: String) = listOf(Message.user(prompt))

    /** Words, each with the space before it. */
    private fun pieces(text: String) = text.split(Regex("(?= )"))
}
