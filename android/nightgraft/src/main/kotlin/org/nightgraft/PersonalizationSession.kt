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
@OptIn(ForTests::class)
public class PersonalizationSession private constructor(private val ffi: FfiSession) : Personalization {
    override val progress: Progress get() = native { ffi.progress() }.toPublic()

    override val report: SessionReport? get() = native { ffi.report() }?.toPublic()

    /**
     * Puts [examples] into the session's store and returns their numbers. They are learned by the next session, once the
     * one under way is over.
     *
     * @throws NightgraftException.InvalidData if one has no text to learn
     * @throws NightgraftException.StorageFull if the disk is full or the quota reached
     */
    public suspend fun addExamples(examples: List<Example>): List<Long> =
        native { ffi.addExamples(examples.map { it.toFfi() }) }.map { it.toLong() }

    override suspend fun runSlice(maxTime: Duration?, onProgress: ((Progress) -> Unit)?): SliceOutcome {
        val seconds = maxTime.toSeconds()
        val relay = onProgress?.let(::ProgressRelay)
        return native({ relay?.thrown }) { ffi.runSlice(seconds, relay) }.toPublic()
    }

    override fun slice(maxTime: Duration?): Flow<Progress> = progressFlow { runSlice(maxTime, it) }

    override suspend fun runNight(
        platform: Platform,
        rules: NightRules,
        grant: Duration?,
        lastGrant: Boolean,
        onProgress: ((Progress) -> Unit)?,
    ): SliceOutcome {
        val seconds = grant.toSeconds()
        val ffiRules = rules.toFfi()
        val platformRelay = PlatformRelay(platform)
        val relay = onProgress?.let(::ProgressRelay)
        return native({ relay?.thrown ?: platformRelay.thrown }) {
            ffi.runNight(platformRelay, ffiRules, seconds, lastGrant, relay)
        }.toPublic()
    }

    override fun night(
        platform: Platform,
        rules: NightRules,
        grant: Duration?,
        lastGrant: Boolean,
    ): Flow<Progress> = progressFlow { runNight(platform, rules, grant, lastGrant, it) }

    override fun stop(): Unit = native { ffi.stop() }

    override fun deviceChanged(): Unit = native { ffi.deviceChanged() }

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
