package org.nightgraft.android

import android.app.job.JobParameters
import android.os.BatteryManager
import android.os.PowerManager
import java.io.File
import java.security.ProviderException
import kotlin.random.Random
import kotlin.random.nextInt
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.test.TestScope
import kotlinx.coroutines.test.currentTime
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.nightgraft.NightgraftException
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.android.FakeKeystore.Fault

/** What goes wrong in a night. */
internal enum class Trouble(val words: String) {
    NONE("nothing"),
    CHARGER("the charger's cable is loose"),
    SCREEN_SAVER("a screen saver is on"),
    FULL_DISK("the disk is almost full"),
    WRONG_KEY("the Keystore has lost the key"),
    KEYSTORE("the Keystore fails now and then"),
    HEAT("the phone is warm, and memory short"),
    STOPPED("the system stops the job in every phase"),
    KILLED("the system kills the app in every phase"),
    APP("the app holds the store, is late, and throws"),
}

/** What a grant goes through. */
internal enum class GrantPhase { OPENING, PREPARING, WAITING, TRAINING, SAVING, ENDING }

/** From 22:00 to 7:00 on a phone with fakes of Android's scheduler, sensors and Keystore, in simulated time. */
@OptIn(ExperimentalCoroutinesApi::class)
internal class SimulatedNight(
    private val scope: TestScope,
    folder: File,
    private val trouble: Trouble,
    private val random: Random,
) {
    val disk = SimulatedDisk(totalSteps = random.nextInt(3_000..9_000))
    val scheduler = FakeScheduler(scope.backgroundScope, ::now)

    /** The longest time for which the device was awake and did not train. */
    var longestIdle = Duration.ZERO
        private set

    /** The phases in which the system stopped the job, or killed the app. */
    val struck = mutableSetOf<GrantPhase>()

    private val readings = FakeReadings()
    private val keystore = FakeKeystore()
    private val key = KeystoreKey(File(folder, "store.key"), "store", impatientWrapper(keystore))
    private var process: SimulatedProcess? = null
    private var strikeIn: GrantPhase? = null

    private fun now() = scope.currentTime.milliseconds

    /** Lets the night pass, and checks at every moment that nothing is kept awake for nothing. */
    suspend fun pass() {
        key.loadOrCreate()
        if (trouble == Trouble.WRONG_KEY) keystore.keys.clear()
        scheduler.makeService = ::makeService
        scheduler.onEnd = ::noteIdle
        process() // the owner has used the app this evening
        while (now() < NIGHT) {
            change()
            scheduler.look()
            delay(TICK)
            scheduler.running?.let(::noteIdle)
        }
        scheduler.isCharging = false
        scheduler.look()
        delay(10.seconds)
        assertEquals(null, scheduler.running)
        assertEquals(0, scheduler.stoppedByScheduling)
        val left = if (trouble == Trouble.WRONG_KEY) emptySet() else setOf(JobOptions().jobId)
        assertEquals(left, scheduler.pending, "requests that are left after: ${trouble.words}")
        disk.checkNothingLost()
    }

    private fun noteIdle(job: StartedJob) {
        val idle = now() - maxOf(job.startedAt, disk.trainedAt)
        longestIdle = maxOf(longestIdle, idle)
        assertTrue(idle <= 2.minutes, "awake for $idle without training after: ${trouble.words}")
    }

    /** What may change in a few seconds. */
    private fun change() {
        when (trouble) {
            Trouble.CHARGER -> scheduler.isCharging = oneIn(60) != scheduler.isCharging
            Trouble.SCREEN_SAVER -> readings.isInteractive = true
            Trouble.FULL_DISK -> readings.storageFree = if (now() < 4.hours) 700L shl 20 else 3L shl 30
            Trouble.KEYSTORE -> if (oneIn(20)) fail()
            Trouble.HEAT -> warm()
            Trouble.STOPPED, Trouble.KILLED -> {
                if (oneIn(200)) shortOfMemory(readings.memory.available > 0)
                if (oneIn(60)) strikeIn = GrantPhase.entries.random(random)
            }
            Trouble.APP -> if (oneIn(200)) disk.isHeldByApp = !disk.isHeldByApp
            Trouble.NONE, Trouble.WRONG_KEY -> Unit
        }
        val plugged = if (scheduler.isCharging) BatteryManager.BATTERY_PLUGGED_AC else 0
        readings.battery = readings.battery.with(BatteryManager.EXTRA_PLUGGED to plugged)
        readings.elapsedMillis = scope.currentTime
    }

    private fun fail() {
        keystore.faults.clear()
        keystore.faults += Fault.Throws(ProviderException())
        keystore.faults += List(random.nextInt(6)) { if (oneIn(2)) Fault.Blind else Fault.Throws(ProviderException()) }
    }

    private fun warm() {
        if (oneIn(100)) shortOfMemory(readings.memory.available > 0)
        if (oneIn(200)) {
            readings.thermalStatus =
                listOf(PowerManager.THERMAL_STATUS_NONE, PowerManager.THERMAL_STATUS_SEVERE).random(random)
        }
    }

    private fun shortOfMemory(isShort: Boolean) {
        readings.memory = MemoryReading(available = if (isShort) 0 else 4L shl 30, threshold = 1L shl 28, isLow = isShort)
    }

    private fun oneIn(count: Int) = random.nextInt(count) == 0

    /** The night has come to [phase], which is where the system may strike. */
    private fun enter(phase: GrantPhase) {
        if (strikeIn != phase) return
        strikeIn = null
        // Not in the middle of what the app's thread does just now.
        scheduler.post {
            when {
                trouble == Trouble.KILLED -> kill()
                scheduler.running != null -> scheduler.stop()
                else -> return@post
            }
            struck += phase
        }
    }

    private fun kill() {
        process?.end()
        process = null
        disk.processDied()
        scheduler.processDied()
    }

    /** Starts the app's process if there is none, which schedules its job. */
    private fun process() = process ?: SimulatedProcess().also {
        process = it
        scheduler.ensureScheduled(JobOptions())
    }

    private fun makeService(): FakeService {
        val process = process()
        val nights = NightJobs("NightService", App(process), Connection(process), process.nights)
        return object : FakeService {
            override fun onStartJob(job: StartedJob) = nights.start(job, job.options)

            override fun onStopJob(job: StartedJob) = nights.stop(job.options.jobId, JobParameters.STOP_REASON_CONSTRAINT_CHARGING)

            override fun onDestroy() = nights.stopAll()
        }
    }

    /** A process of the app's. Once it is [ended][end] nothing that it does counts. */
    inner class SimulatedProcess {
        var isAlive = true
            private set

        private val coroutines = CoroutineScope(scope.backgroundScope.coroutineContext + SupervisorJob())
        val nights = NightProcess(coroutines)

        fun end() {
            isAlive = false
            coroutines.cancel()
        }
    }

    /** The scheduler as the process sees it. */
    private inner class Connection(private val process: SimulatedProcess) : NightSystem<StartedJob> by scheduler {
        override fun finished(job: StartedJob, again: Boolean) {
            if (!process.isAlive) return
            if (oneIn(2)) enter(GrantPhase.ENDING)
            scheduler.finished(job, again)
            enter(GrantPhase.ENDING)
        }
    }

    private inner class App(private val process: SimulatedProcess) : NightApp {
        override suspend fun open(options: JobOptions): OpenNight {
            enter(GrantPhase.OPENING)
            delay(1.seconds)
            if (trouble == Trouble.APP && oneIn(4)) withTimeout(20.seconds) { awaitCancellation() }
            key.loadOrCreate()
            val store = disk.open(process) ?: throw NightgraftException.StoreLocked("it is open")
            val platform = DeviceReader(readings).let { if (options.idle) IdlePlatform(it) else it }
            val grant = defaultGrant(options.charging, sdk = 36)
            return SimulatedSession(store, platform, grant, this@SimulatedNight::now, this@SimulatedNight::enter)
        }

        override fun onProgress(progress: Progress) = Unit

        override fun onOutcome(outcome: SliceOutcome) = throwSometimes()

        override fun onFailure(error: Exception) = throwSometimes()

        override fun log(error: Exception) = Unit

        private fun throwSometimes() {
            if (trouble == Trouble.APP && oneIn(2)) error("a bug of the app's")
        }
    }

    private companion object {
        val NIGHT = 9.hours
        val TICK = 5.seconds
    }
}
