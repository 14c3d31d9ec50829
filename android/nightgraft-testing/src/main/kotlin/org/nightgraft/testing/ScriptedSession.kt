package org.nightgraft.testing

import kotlin.time.Duration
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import org.nightgraft.ForTests
import org.nightgraft.NightRules
import org.nightgraft.Personalization
import org.nightgraft.Phase
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SessionReport
import org.nightgraft.SliceOutcome

/**
 * A session that trains nothing: each slice and each night tells all of [script], and ends as [outcome] says. It does not wait, so
 * that there is nothing to stop.
 */
@OptIn(ForTests::class)
public class ScriptedSession(private val script: List<Progress>, private val outcome: SliceOutcome) : Personalization {
    @Volatile
    override var progress: Progress = Progress.of(Phase.PREPARING)
        private set

    @Volatile
    override var report: SessionReport? = null
        private set

    override suspend fun runSlice(maxTime: Duration?, onProgress: ((Progress) -> Unit)?): SliceOutcome {
        slice(maxTime).collect { onProgress?.invoke(it) }
        return outcome
    }

    override fun slice(maxTime: Duration?): Flow<Progress> = flow {
        for (state in script) {
            progress = state
            if (state == script.last()) report = (outcome as? SliceOutcome.Finished)?.report
            emit(state)
        }
    }

    override suspend fun runNight(
        platform: Platform,
        rules: NightRules,
        grant: Duration?,
        lastGrant: Boolean,
        onProgress: ((Progress) -> Unit)?,
    ): SliceOutcome = runSlice(grant, onProgress)

    override fun night(platform: Platform, rules: NightRules, grant: Duration?, lastGrant: Boolean): Flow<Progress> =
        slice(grant)

    override fun stop(): Unit = Unit

    override fun deviceChanged(): Unit = Unit

    override suspend fun release(): Unit = Unit

    override fun close(): Unit = Unit
}
