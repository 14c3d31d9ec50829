package org.nightgraft.testing

import java.time.LocalTime
import java.time.OffsetDateTime
import java.time.ZoneOffset
import kotlin.time.Duration
import kotlin.time.toJavaDuration

/**
 * The clock of a [FixedPlatform], which stands still until a test moves it. By it the rules tell the time of day, when a day's
 * budgets begin anew, and how long ago the device was used or hot. How long training takes is measured by the machine's own.
 *
 * @param now the time at the beginning: one o'clock at night if no other is given
 */
public class TestClock(now: OffsetDateTime = OffsetDateTime.of(2026, 11, 30, 1, 0, 0, 0, ZoneOffset.UTC)) {
    /** The time that it shows. */
    @Volatile
    public var now: OffsetDateTime = now
        private set

    /** Moves it forward [by] a time. */
    public fun advance(by: Duration) {
        require(!by.isNegative()) { "a clock does not go back: $by" }
        now += by.toJavaDuration()
    }

    /** Moves it forward to the next [time] of day; if that is now, it stays. */
    public fun advanceTo(time: LocalTime) {
        val today = now.with(time)
        now = if (today < now) today.plusDays(1) else today
    }
}
