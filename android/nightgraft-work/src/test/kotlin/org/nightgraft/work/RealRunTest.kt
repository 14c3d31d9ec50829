package org.nightgraft.work

import java.io.File
import java.nio.file.Path
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.nightgraft.AdapterStore
import org.nightgraft.BaseModel
import org.nightgraft.DeviceState
import org.nightgraft.Example
import org.nightgraft.Interruption
import org.nightgraft.NightEnd
import org.nightgraft.NightRules
import org.nightgraft.NightgraftException
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.SessionSettings
import org.nightgraft.SliceOutcome
import org.nightgraft.StoreSettings
import org.nightgraft.android.NightConfiguration
import org.nightgraft.android.NightRun
import org.nightgraft.android.RunHost
import org.nightgraft.testing.FixedPlatform
import org.nightgraft.testing.TinyModel
import org.nightgraft.testing.copy
import org.nightgraft.testing.ready

/** Workers on the real library, with a fake of WorkManager: from their start to the graft, and when they are stopped. */
internal class RealRunTest {
    @TempDir lateinit var folder: Path

    private val store get() = File("$folder/store")
    private val real get() = checkNotNull(System.getenv("NIGHTGRAFT_SMOLLM2")) { "NIGHTGRAFT_SMOLLM2 names no model" }

    /** The owner looks at it. */
    private val inUse get() = DeviceState.ready.copy(idle = false)

    /** The app's part: it opens all anew in each run, and tells of what it hears. */
    private inner class App(
        private val model: String = TinyModel.file.path,
        private val settings: SessionSettings = ENDLESS,
        private val device: DeviceState = inUse,
        private val opening: suspend () -> Unit = {},
    ) : RunHost {
        val outcomes = mutableListOf<SliceOutcome>()
        val failures = mutableListOf<Exception>()
        var onProgress: (Progress) -> Unit = {}
        override var stopReason: Int? = null

        override suspend fun configuration(): NightConfiguration {
            opening()
            val base = BaseModel.open(model)
            try {
                val opened = AdapterStore.open(store.path, StoreSettings.unencrypted())
                return NightConfiguration(base, opened, settings, NightRules())
            } catch (error: Exception) {
                base.close()
                throw error
            }
        }

        override fun platform(configuration: NightConfiguration) = FixedPlatform(device)

        override fun onProgress(progress: Progress) = onProgress.invoke(progress)

        override fun onOutcome(outcome: SliceOutcome) {
            outcomes += outcome
        }

        override fun onFailure(error: Exception) {
            failures += error
        }

        /** Runs a worker of this app. */
        suspend fun work(system: WorkSystem = FakeWork()): WorkEnd =
            WorkRun(WorkOrder.Now(serviceType = 1), system, sdk = 36) { terms, shown ->
                val host =
                    object : RunHost by this@App {
                        override fun onProgress(progress: Progress) {
                            shown(progress)
                            this@App.onProgress(progress)
                        }
                    }
                NightRun("$folder", terms, host).use()
            }.work()
    }

    private fun app(work: suspend CoroutineScope.() -> Unit) = runBlocking(Dispatchers.Default) {
        // No test here takes long; one that hangs says so.
        withTimeout(10.minutes, work)
    }

    private suspend fun <T> withStore(work: suspend (AdapterStore) -> T): T {
        val opened = AdapterStore.open(store.path, StoreSettings.unencrypted())
        return try {
            work(opened)
        } finally {
            opened.release()
        }
    }

    private suspend fun addExamples(count: Int = 24) = withStore { store ->
        store.add(List(count) { Example.Text("The boat number $it is called Marrowby, and it has $it sails.") })
    }

    @Test
    fun `from its start to a promoted graft, while the device is used and no notification may be shown`() = app {
        withStore { store -> store.add(List(20) { Example.answer("What is in box $it?", "In box $it there are $it ropes.") }) }
        val app = App(real, SessionSettings(epochs = 4))
        // Without the permission POST_NOTIFICATIONS a service begins as ever, and the system keeps the notification to itself.
        val system = FakeWork()
        assertEquals(WorkEnd.DONE, app.work(system))
        val outcome = app.outcomes.single() as SliceOutcome.Finished
        assertTrue(outcome.report.promoted, outcome.report.verdict.text)
        withStore { store -> assertEquals(outcome.report.graft, store.current()) }
        assertTrue(system.shown.size > 1 && system.told.isNotEmpty())
        assertTrue(system.logged.isEmpty() && app.failures.isEmpty())
    }

    @Test
    fun `work that the system stops in any phase is saved and closed, and goes on`() = app {
        addExamples()
        stopWhile(Phase.PREPARING, App())
        stopWhile(Phase.TRAINING, App())
        stopWhile(Phase.WAITING, App(device = inUse.copy(charging = false)))
    }

    @Test
    fun `work that the system stops while it judges judges again`() = app {
        addExamples()
        stopWhile(Phase.JUDGING, App(settings = SHORT))
        val app = App(settings = SHORT)
        assertEquals(WorkEnd.DONE, app.work())
        assertTrue(app.outcomes.single() is SliceOutcome.Finished)
    }

    private suspend fun CoroutineScope.stopWhile(phase: Phase, app: App) {
        val reached = CompletableDeferred<Unit>()
        app.onProgress = { if (it.phase == phase) reached.complete(Unit) }
        val job = launch { app.work() }
        reached.await()
        app.stopReason = FOREGROUND_SERVICE_TIMEOUT
        job.cancelAndJoin()
        assertTrue(app.outcomes.isEmpty() && app.failures.isEmpty(), "$phase: ${app.failures}")
        withStore { store -> // it is closed, and whole
            assertTrue(store.verify().isEmpty())
            val stopped = NightEnd.Stopped(Interruption.TIME_UP)
            val end = store.nights().lastOrNull()?.end
            // Before it trains there is no night yet, and it may have begun to.
            assertTrue(end == stopped || end == null && phase == Phase.PREPARING, "$phase: $end")
        }
    }

    @Test
    fun `work that the system stops while it opens leaves nothing open`() = app {
        addExamples()
        val opening = CompletableDeferred<Unit>()
        val app = App(opening = {
            opening.complete(Unit)
            awaitCancellation()
        })
        val job = launch { app.work() }
        opening.await()
        job.cancelAndJoin()
        assertTrue(app.failures.isEmpty())
        withStore { assertTrue(it.verify().isEmpty()) }
    }

    @Test
    fun `a second worker waits for the first, which was stopped, and goes on from its last step`() = app {
        addExamples()
        val first = App()
        val trained = CompletableDeferred<Long>()
        first.onProgress = { if (it.phase == Phase.TRAINING && it.step > 2) trained.complete(it.step) }
        val job = launch { first.work() }
        val step = trained.await()
        val second = App()
        val goesOn = CompletableDeferred<Long>()
        second.onProgress = { if (it.phase == Phase.TRAINING && it.step > 0) goesOn.complete(it.step) }
        val other = launch { second.work() }
        job.cancelAndJoin()
        assertTrue(goesOn.await() >= step)
        other.cancelAndJoin()
        assertTrue(second.failures.isEmpty(), "${second.failures}")
    }

    @Test
    fun `a store that a night has open is tried again`() = app {
        addExamples()
        val app = App(settings = SHORT)
        withStore { assertEquals(WorkEnd.AGAIN, app.work()) } // as a job service has it
        assertTrue(app.failures.single() is NightgraftException.StoreLocked)
        assertEquals(WorkEnd.DONE, app.work(FakeWork(attempt = 1)))
        assertTrue(app.outcomes.single() is SliceOutcome.Finished)
    }

    private companion object {
        /** `WorkInfo.STOP_REASON_FOREGROUND_SERVICE_TIMEOUT`, after the service's six hours. */
        const val FOREGROUND_SERVICE_TIMEOUT = -128

        /** Lasts longer than any test. */
        val ENDLESS = settings(steps = 10_000_000, learningRate = 1e-6)

        val SHORT = settings(steps = 6, learningRate = 1e-3)

        fun settings(steps: Int, learningRate: Double) =
            SessionSettings(rank = 2, context = 64, batchTokens = 64, steps = steps, threads = 1, learningRate = learningRate)
    }
}
