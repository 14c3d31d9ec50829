package org.nightgraft

import kotlin.time.Duration
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import org.nightgraft.ffi.PersonalizationSession as FfiSession

/**
 * One job that lasts for nights: what is new in a store becomes a better adapter. It is worked on in slices, each of which
 * may end at any moment; the next one goes on, in this process or in a later one, and the result is the same, bit for
 * bit.
 *
 * All functions may be called from any thread. Two slices at once do not run: the second waits for the first. A coroutine
 * that is cancelled stops its slice, which is saved within about a quarter of a second; [close] and [release] wait for
 * that. After them every call fails with [NightgraftException.Cancelled].
 */
public class PersonalizationSession private constructor(private val ffi: FfiSession) : SuspendCloseable {
    /** How far the session is. */
    public val progress: Progress get() = native { ffi.progress() }.toPublic()

    /** What came of the session; null while it is not over. */
    public val report: SessionReport? get() = native { ffi.report() }?.toPublic()

    /**
     * Puts [examples] into the session's store and returns their numbers. They are learned by the next session, once the
     * one under way is over.
     *
     * @throws NightgraftException.InvalidData if one has no text to learn
     * @throws NightgraftException.StorageFull if the disk is full or the quota reached
     */
    public suspend fun addExamples(examples: List<Example>): List<Long> =
        native { ffi.addExamples(examples.map { it.toFfi() }) }.map { it.toLong() }

    /**
     * Trains until the session is over, [maxTime] has passed, or somebody stops it.
     *
     * @param maxTime how long it may take; null for as long as it takes
     * @param onProgress is called from one thread of the library, at most five times a second and at every change of
     *   phase; the last state always comes. What it throws stops the slice, saved.
     * @throws NightgraftException.Cancelled if the handle is closed or [onProgress] threw
     * @throws NightgraftException.InvalidData if an example cannot be used
     * @throws NightgraftException.OutOfMemoryBudget if the memory limit is too low
     * @throws NightgraftException.StorageFull if it cannot be saved
     * @throws NightgraftException.Unsupported if the store has a session under way that began with other settings
     */
    public suspend fun runSlice(maxTime: Duration? = null, onProgress: ((Progress) -> Unit)? = null): SliceOutcome {
        val seconds = maxTime.toSeconds()
        val relay = onProgress?.let(::ProgressRelay)
        return native({ relay?.thrown }) { ffi.runSlice(seconds, relay) }.toPublic()
    }

    /**
     * As [runSlice], as a flow: collecting it runs a slice, and it ends with the slice. The last state says how; [report]
     * has the rest. A collector that is slow misses old states, never the last one; one that ends early stops the slice.
     */
    public fun slice(maxTime: Duration? = null): Flow<Progress> = progressFlow { runSlice(maxTime, it) }

    /**
     * Runs for one grant of the device's system: looks at the device, and waits or trains as [rules] say, until the
     * session is over, the grant ends, or somebody stops it.
     *
     * @param platform tells how the device is, such as [org.nightgraft.android.AndroidPlatform]
     * @param rules when training may run
     * @param grant how long the system lets the process run; null for no limit
     * @param lastGrant whether no other grant follows tonight, as far as is known
     * @param onProgress as for [runSlice]
     * @throws NightgraftException.Unsupported if a rule makes no sense
     * @throws NightgraftException as [runSlice]
     */
    public suspend fun runNight(
        platform: Platform,
        rules: NightRules = NightRules(),
        grant: Duration? = null,
        lastGrant: Boolean = false,
        onProgress: ((Progress) -> Unit)? = null,
    ): SliceOutcome {
        val seconds = grant.toSeconds()
        val ffiRules = rules.toFfi()
        val platformRelay = PlatformRelay(platform)
        val relay = onProgress?.let(::ProgressRelay)
        return native({ relay?.thrown ?: platformRelay.thrown }) {
            ffi.runNight(platformRelay, ffiRules, seconds, lastGrant, relay)
        }.toPublic()
    }

    /** As [runNight], as a flow: collecting it runs a night, and it ends with the grant. */
    public fun night(
        platform: Platform,
        rules: NightRules = NightRules(),
        grant: Duration? = null,
        lastGrant: Boolean = false,
    ): Flow<Progress> = progressFlow { runNight(platform, rules, grant, lastGrant, it) }

    /** Stops what runs; it ends within about a quarter of a second, saved. Returns at once. */
    public fun stop(): Unit = native { ffi.stop() }

    /** Wakes a night that waits, so that it looks at the device again. Returns at once. */
    public fun deviceChanged(): Unit = native { ffi.deviceChanged() }

    /** As [close], without blocking a thread: [useSuspending] calls it. */
    override suspend fun release(): Unit = ffi.closeSuspending { ffi.release() }

    /**
     * Stops what runs, waits until it is saved, and gives the handle back: this blocks the thread for about a quarter of a
     * second while a slice runs. A second call does nothing.
     */
    override fun close(): Unit = ffi.closeBlocking { ffi.release() }

    private fun progressFlow(run: suspend ((Progress) -> Unit) -> Unit): Flow<Progress> =
        channelFlow { run { progress -> trySend(progress) } }.buffer(PROGRESS_BUFFER, BufferOverflow.DROP_OLDEST)

    /** Opens sessions. */
    public companion object {
        /** Thirteen seconds of progress: a collector that is slower than that has other worries. */
        private const val PROGRESS_BUFFER = 64

        /**
         * Opens a session: the one that is under way in [store], or a new one. The model and the store may be closed before
         * the session is; closing the store stops it.
         *
         * @throws NightgraftException.Unsupported if a setting makes no sense
         * @throws NightgraftException.InvalidModel if the model cannot be trained
         */
        public suspend fun open(
            model: BaseModel,
            store: AdapterStore,
            settings: SessionSettings = SessionSettings(),
        ): PersonalizationSession {
            val ffiSettings = settings.toFfi()
            return PersonalizationSession(native { FfiSession.open(model.ffi, store.ffi, ffiSettings) })
        }
    }
}
