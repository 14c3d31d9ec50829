package org.nightgraft.testing

import java.time.LocalTime
import java.time.OffsetDateTime
import kotlin.time.Duration.Companion.hours
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

internal class TestClockTest {
    private val clock = TestClock(OffsetDateTime.parse("2026-11-30T22:30:00+01:00"))

    @Test
    fun `it goes forward when it is moved, and never back`() {
        clock.advance(2.hours)
        assertEquals(OffsetDateTime.parse("2026-12-01T00:30:00+01:00"), clock.now)
        assertThrows<IllegalArgumentException> { clock.advance((-1).hours) }
    }

    @Test
    fun `a time of day is the next one`() {
        clock.advanceTo(LocalTime.of(23, 0))
        assertEquals(OffsetDateTime.parse("2026-11-30T23:00:00+01:00"), clock.now)
        clock.advanceTo(LocalTime.of(23, 0))
        clock.advanceTo(LocalTime.of(7, 0))
        assertEquals(OffsetDateTime.parse("2026-12-01T07:00:00+01:00"), clock.now)
    }
}
