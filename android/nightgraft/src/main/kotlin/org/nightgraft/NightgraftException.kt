package org.nightgraft

/**
 * What can go wrong, as far as an app can do something about it.
 *
 * Messages name files, settings and numbers. They never hold a prompt, a text of an example or an answer, so they can be
 * logged. `android/README.md` has a table of what to do in each case.
 */
public sealed class NightgraftException(message: String, cause: Throwable? = null) : Exception(message, cause) {
    /** The model's file is missing, damaged, or of a kind that cannot be used. Fetch it again, or choose another one. */
    public class InvalidModel internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /**
     * The model's file was changed, replaced or removed while it was in use. What was done before is saved: put the file back,
     * open the model again and go on. [BaseModel] says how to bring a new one.
     */
    public class ModelChanged internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /** An example, a file of examples or an adapter cannot be used. Leave it out or mend it. */
    public class InvalidData internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /**
     * The memory that is allowed does not suffice, not even for the smallest plan.
     *
     * @property needed bytes that the smallest plan takes
     * @property available bytes that it may take
     */
    public class OutOfMemoryBudget internal constructor(
        public val needed: Long,
        public val available: Long,
        cause: Throwable? = null,
    ) : NightgraftException("$needed bytes of memory are needed, $available may be used", cause)

    /** The disk is full, or the store has reached its quota. Everything that was saved before is still there. */
    public class StorageFull internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /** Somebody has the store open, in this process or in another one. Close it there, or try again later. */
    public class StoreLocked internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /** A file of the store is damaged. [AdapterStore.verify] lists all that are. */
    public class Corrupted internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /** The store is encrypted, with another key than the one that was given, if one was. */
    public class WrongKey internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /**
     * The Android Keystore could not be asked for the store's key, though it was tried several times. Nothing is lost: try
     * again later.
     */
    public class KeyUnavailable internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /**
     * The work was stopped because its handle was closed, or a listener or the platform threw: then that exception is the
     * [cause].
     *
     * A coroutine that is cancelled ends with [kotlinx.coroutines.CancellationException] instead, as everywhere.
     */
    public class Cancelled internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /**
     * What was asked for cannot be done: a setting that makes no sense, a graft that is not there or was refused, a session
     * that was begun with other settings, a path that is not there or may not be used. The message says what.
     */
    public class Unsupported internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)

    /** A bug in the library. The handle may be closed and opened again; saved work is not lost. */
    public class Internal internal constructor(message: String, cause: Throwable? = null) :
        NightgraftException(message, cause)
}
