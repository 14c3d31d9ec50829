package org.nightgraft

/** Something whose closing takes a moment: what runs on it is stopped and saved first. */
public interface SuspendCloseable : AutoCloseable {
    /** As [close], without blocking a thread. A coroutine that is cancelled may call it too. */
    public suspend fun release()
}

/**
 * As [use], without blocking the thread in the end: a coroutine on the main thread that is cancelled while training runs would
 * hold up the screen until that is saved.
 */
public suspend inline fun <T : SuspendCloseable, R> T.useSuspending(block: (T) -> R): R =
    try {
        block(this)
    } finally {
        release()
    }
