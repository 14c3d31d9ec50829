package org.nightgraft.android

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.delay
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.nightgraft.DeviceState
import org.nightgraft.Interruption
import org.nightgraft.PauseReason
import org.nightgraft.Phase
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SliceOutcome
import org.nightgraft.Thermal
import org.nightgraft.WaitKind

/** Optimizer steps between two saves, as `SessionSettings.checkpointEvery`. */
internal const val CHECKPOINT = 20

internal val STEP = 4.seconds

/** A store, as far as it outlives the process. */
internal class SimulatedDisk(val totalSteps: Int) {
    /** The step of the last save. */
    var saved = 0
        private set

    /** Whether a part of the app's has the store open, besides the night. */
    var isHeldByApp = false

    /** When the last step ended. */
    var trainedAt = Duration.ZERO
        private set

    /** How many steps were trained, those included that were lost. */
    var trained = 0
        private set

    private var lost = 0
    private var openBy: SimulatedNight.SimulatedProcess? = null
    private var reached = 0

    fun open(process: SimulatedNight.SimulatedProcess): Store? {
        if (isHeldByApp || openBy != null) return null
        checkNothingLost()
        openBy = process
        return Store(process)
    }

    /** What was trained since the last save is lost. */
    fun processDied() {
        openBy = null
        val lostNow = reached - saved
        assertTrue(lostNow <= CHECKPOINT, "$lostNow steps are lost")
        lost += lostNow
        reached = saved
    }

    fun checkNothingLost() {
        assertEquals(saved, reached, "the last step is not the one that was saved")
        assertEquals(trained, saved + lost)
    }

    /** The store, open in [process]. */
    inner class Store(private val process: SimulatedNight.SimulatedProcess) {
        var step = saved
            private set

        val isOver get() = step == totalSteps

        fun train(now: Duration) {
            if (!process.isAlive) return
            step++
            trained++
            reached = step
            trainedAt = now
            if (step % CHECKPOINT == 0) save()
        }

        fun save() {
            if (process.isAlive) saved = step
        }

        fun close() {
            if (process.isAlive) openBy = null
        }
    }
}

/** A session that trains for [STEP] at a time, where the library's rules let it, and ends within a quarter of a second. */
internal class SimulatedSession(
    private val store: SimulatedDisk.Store,
    private val platform: Platform,
    private val grant: Duration,
    private val now: () -> Duration,
    private val enter: (GrantPhase) -> Unit,
) : OpenNight {
    private val policy = SimulatedPolicy(now)
    private var isStopped = false
    private var isSaved = true

    override suspend fun train(onProgress: (Progress) -> Unit): SliceOutcome {
        val ends = now() + grant
        if (store.isOver) return EVERYTHING_LEARNED
        onProgress(progress(Phase.PREPARING))
        enter(GrantPhase.PREPARING)
        delay(3.seconds)
        while (!store.isOver) {
            if (isStopped) return paused(PauseReason.Stopped)
            if (now() >= ends) return paused(PauseReason.Deadline)
            val wait = policy.wait(platform.state())
            if (wait == null) step(onProgress) else wait(wait, onProgress)
        }
        save()
        return EVERYTHING_LEARNED
    }

    override fun stop() {
        isStopped = true
    }

    override fun forbiddenFor(kind: WaitKind) = null

    /** A coroutine that was cancelled has not saved; the library does, and this waits for it. */
    override suspend fun release(interruption: Interruption?) {
        save()
        store.close()
    }

    private suspend fun step(onProgress: (Progress) -> Unit) {
        onProgress(progress(Phase.TRAINING))
        enter(GrantPhase.TRAINING)
        isSaved = false
        delay(STEP)
        store.train(now())
    }

    private suspend fun wait(kind: WaitKind, onProgress: (Progress) -> Unit) {
        save()
        onProgress(progress(Phase.WAITING, kind))
        enter(GrantPhase.WAITING)
        delay(500.milliseconds)
    }

    private suspend fun paused(reason: PauseReason): SliceOutcome {
        save()
        return SliceOutcome.Paused(reason)
    }

    private suspend fun save() {
        if (isSaved) return
        enter(GrantPhase.SAVING)
        delay(250.milliseconds)
        store.save()
        isSaved = true
    }
}

/** The rules of `NightRules()`, in short. */
private class SimulatedPolicy(private val now: () -> Duration) {
    private var cooledAt = Duration.ZERO

    fun wait(state: DeviceState): WaitKind? {
        val isHot = state.thermal >= Thermal.SERIOUS
        if (isHot) cooledAt = now() + COOLING
        return when {
            state.battery.isNaN() -> WaitKind.UNREADABLE
            !state.charging -> WaitKind.NOT_CHARGING
            state.battery < 0.3 -> WaitKind.BATTERY_LOW
            state.lowPowerMode -> WaitKind.LOW_POWER_MODE
            !state.idle -> WaitKind.IN_USE
            isHot -> WaitKind.TOO_WARM
            now() < cooledAt -> WaitKind.COOLING_DOWN
            state.storageFree < 1L shl 30 -> WaitKind.STORAGE_LOW
            state.memoryAvailable < 256L shl 20 -> WaitKind.MEMORY_LOW
            else -> null
        }
    }

    private companion object {
        val COOLING = 300.seconds
    }
}
