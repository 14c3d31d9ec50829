package org.nightgraft

import kotlinx.coroutines.flow.Flow

/**
 * What a screen does with a generator: [Generator] is the one that has a model, and tests may have one that knows its answers. It
 * gets more functions with time, which is why nothing but a test should implement it.
 */
@SubclassOptInRequired(ForTests::class)
public interface TextGenerator : AutoCloseable {
    /**
     * Goes on with a conversation, as a flow of pieces of text. Collecting it starts the work; a collector that ends early
     * stops it.
     *
     * @param messages the conversation so far
     * @throws NightgraftException as [answer]
     */
    public fun chat(messages: List<Message>, options: ChatOptions = ChatOptions()): Flow<String>

    /**
     * Goes on with a conversation, and returns the whole answer.
     *
     * @param messages the conversation so far
     * @param options how it writes
     * @param onText is called from a thread of the library with each piece of text; what it throws ends the answer
     * @throws NightgraftException.Unsupported if the model has no chat template, or the conversation does not fit it or
     *   the model's context
     * @throws NightgraftException.Cancelled if the handle is closed or [onText] threw
     */
    public suspend fun answer(
        messages: List<Message>,
        options: ChatOptions = ChatOptions(),
        onText: ((String) -> Unit)? = null,
    ): Answer

    /** Goes on with [prompt] as it stands, without a chat template, as a flow of pieces of text. See [chat]. */
    public fun complete(prompt: String, options: ChatOptions = ChatOptions()): Flow<String>

    /**
     * Goes on with [prompt] as it stands, without a chat template, and returns the whole text.
     *
     * @param prompt the beginning
     * @param options how it writes
     * @param onText as for [answer]
     * @throws NightgraftException as [answer]
     */
    public suspend fun completion(
        prompt: String,
        options: ChatOptions = ChatOptions(),
        onText: ((String) -> Unit)? = null,
    ): Answer

    /** Ends the answer that is being written: it is returned as far as it is. Returns at once. */
    public fun stop()
}
