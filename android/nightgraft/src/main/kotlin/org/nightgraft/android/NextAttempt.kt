package org.nightgraft.android

import java.time.LocalTime
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes
import org.nightgraft.NightRules
import org.nightgraft.NightgraftException
import org.nightgraft.SliceOutcome
import org.nightgraft.WaitKind

/** How a grant ended: what it waited for in the end, and for how long the clock alone makes it wait for that. */
internal class GrantEnd(val outcome: SliceOutcome, val waitedFor: WaitKind? = null, val forbiddenFor: Duration? = null)

/**
 * How long the job waits after a grant, before the system's conditions count again. A session that is not over goes on; after
 * one that is ([over]), new examples may take their time.
 */
internal fun pauseAfter(end: GrantEnd?, over: Duration): Duration =
    when (end?.outcome) {
        // The rules may be others by then, so that it looks again now and then.
        is SliceOutcome.Paused ->
            end.forbiddenFor?.coerceAtMost(over) ?: end.waitedFor?.pause(over) ?: PAUSE_BETWEEN_GRANTS
        is SliceOutcome.Finished, is SliceOutcome.NothingToDo, null -> over
    }

/** How long these rules forbid to train from [now] on, if it is the clock that they wait for. */
internal fun NightRules.forbiddenFor(kind: WaitKind, now: LocalTime): Duration? =
    when (kind) {
        WaitKind.OUTSIDE_WINDOW -> window?.let { now.timeUntil(it.begins) }
        WaitKind.MINUTES_USED_UP, WaitKind.ENERGY_USED_UP, WaitKind.FLASH_USED_UP -> now.timeUntil(dayBegins)
        else -> null
    }

/** From this time of day to the next [then], in whole minutes: a minute at least, a day at most. */
private fun LocalTime.timeUntil(then: LocalTime): Duration {
    val minutes = (then.toSecondOfDay() / 60 - toSecondOfDay() / 60).mod(MINUTES_OF_A_DAY)
    return (if (minutes == 0) MINUTES_OF_A_DAY else minutes).minutes
}

/**
 * How long the job waits after a failure; null if only the app can do something about it. Trying again every night would wake
 * the device for nothing.
 */
internal fun pauseAfter(failure: Exception, over: Duration): Duration? =
    when (failure) {
        // The app is busy with the store, or the Keystore with itself.
        is NightgraftException.StoreLocked, is NightgraftException.Cancelled, is NightgraftException.KeyUnavailable ->
            PAUSE_WHILE_BUSY
        // Another time there may be more room, and the model's file whole.
        is NightgraftException.OutOfMemoryBudget, is NightgraftException.StorageFull, is NightgraftException.ModelChanged ->
            over
        is NightgraftException -> null
        // What the app's own code threw, such as a download's timeout.
        else -> PAUSE_AFTER_APPS_ERROR
    }

/** Whether this wait may be over within a minute or two, so that it is worth keeping the device awake for it. */
internal fun WaitKind.maySoonBeOver(): Boolean =
    when (this) {
        WaitKind.NOT_CHARGING, WaitKind.IN_USE, WaitKind.JUST_USED, WaitKind.MEMORY_LOW, WaitKind.UNREADABLE -> true
        WaitKind.LOW_POWER_MODE,
        WaitKind.BATTERY_LOW,
        WaitKind.TOO_WARM,
        WaitKind.COOLING_DOWN,
        WaitKind.OUTSIDE_WINDOW,
        WaitKind.MINUTES_USED_UP,
        WaitKind.ENERGY_USED_UP,
        WaitKind.FLASH_USED_UP,
        WaitKind.STORAGE_LOW -> false
    }

/** How long a job waits that gave its grant back for this. */
private fun WaitKind.pause(over: Duration): Duration =
    when (this) {
        WaitKind.NOT_CHARGING, WaitKind.IN_USE, WaitKind.JUST_USED -> 15.minutes
        WaitKind.BATTERY_LOW, WaitKind.TOO_WARM, WaitKind.COOLING_DOWN, WaitKind.MEMORY_LOW -> 30.minutes
        WaitKind.LOW_POWER_MODE,
        WaitKind.UNREADABLE,
        // The rules say for how long, unless they come from somewhere else.
        WaitKind.OUTSIDE_WINDOW,
        WaitKind.MINUTES_USED_UP,
        WaitKind.ENERGY_USED_UP,
        WaitKind.FLASH_USED_UP -> 1.hours
        // Somebody has to delete something first.
        WaitKind.STORAGE_LOW -> over
    }

/** Between two grants of a session: enough that one which cannot run does not keep the device busy. */
private val PAUSE_BETWEEN_GRANTS = 1.minutes

private val PAUSE_WHILE_BUSY = 15.minutes

private val PAUSE_AFTER_APPS_ERROR = 1.hours

private const val MINUTES_OF_A_DAY = 24 * 60
