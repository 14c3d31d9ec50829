package org.nightgraft.android

import java.util.concurrent.CopyOnWriteArrayList
import kotlin.time.Duration
import kotlinx.coroutines.CompletableDeferred
import org.nightgraft.ForTests
import org.nightgraft.Interruption
import org.nightgraft.NothingToDoReason
import org.nightgraft.PauseReason
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind

/** An app whose nights do what a test says, and that notes what it is told. */
internal class FakeApp(private val openNight: suspend () -> OpenNight?) : NightApp {
    val outcomes = CopyOnWriteArrayList<SliceOutcome>()
    val failures = CopyOnWriteArrayList<Exception>()
    val logged = CopyOnWriteArrayList<Exception>()
    var throwing: Exception? = null

    override suspend fun open(options: JobOptions): OpenNight? = openNight()

    override fun onProgress(progress: Progress) = Unit

    override fun onOutcome(outcome: SliceOutcome) {
        outcomes += outcome
        throwing?.let { throw it }
    }

    override fun onFailure(error: Exception) {
        failures += error
        throwing?.let { throw it }
    }

    override fun log(error: Exception) {
        logged += error
    }
}

/** A night that does what [work] says. */
internal class FakeNight(private val work: suspend FakeNight.((Progress) -> Unit) -> SliceOutcome) : OpenNight {
    private val stopped = CompletableDeferred<Unit>()
    var forbidden: Duration? = null
    var releases = 0
        private set
    var interruption: Interruption? = null
        private set

    override suspend fun train(onProgress: (Progress) -> Unit): SliceOutcome = work(onProgress)

    override fun stop() {
        stopped.complete(Unit)
    }

    override fun forbiddenFor(kind: WaitKind): Duration? = forbidden

    override suspend fun release(interruption: Interruption?) {
        this.interruption = interruption
        releases++
    }

    suspend fun untilStopped(): SliceOutcome {
        stopped.await()
        return SliceOutcome.Paused(PauseReason.Stopped)
    }

    companion object {
        /** A night that waits for [kind] until it is stopped. */
        fun waiting(kind: WaitKind) = FakeNight { tell ->
            tell(progress(Phase.WAITING, kind))
            untilStopped()
        }
    }
}

internal val EVERYTHING_LEARNED = SliceOutcome.NothingToDo(NothingToDoReason.EverythingLearned, "nothing new")

@OptIn(ForTests::class)
internal fun progress(phase: Phase, waitingFor: WaitKind? = null) = Progress.of(phase, waitingFor = waitingFor)
