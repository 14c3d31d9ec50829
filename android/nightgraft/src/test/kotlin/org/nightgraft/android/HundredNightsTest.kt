package org.nightgraft.android

import java.io.File
import java.nio.file.Path
import java.util.Locale
import kotlin.random.Random
import kotlin.time.Duration
import kotlin.time.DurationUnit
import kotlinx.coroutines.test.runTest
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/**
 * A hundred random nights, ten of each trouble. Each of them checks that the device is awake for two minutes at most without
 * training, that no step is lost but those since the last save of a process that was killed, and that one request is left.
 */
internal class HundredNightsTest {
    @TempDir lateinit var folder: Path

    /** What the nights with one trouble came to. */
    private class Row(val trouble: Trouble) {
        var grants = 0
        var awake = Duration.ZERO
        var trained = Duration.ZERO
        var longestIdle = Duration.ZERO
        val struck = mutableSetOf<GrantPhase>()

        fun add(night: SimulatedNight) {
            grants += night.scheduler.starts
            awake += night.scheduler.awake
            trained += STEP * night.disk.trained
            longestIdle = maxOf(longestIdle, night.longestIdle)
            struck += night.struck
        }

        override fun toString(): String {
            val share = if (trained == Duration.ZERO) "–" else "%.2f".format(Locale.ROOT, awake / trained)
            val longest = "${longestIdle.inWholeSeconds} s"
            return "| ${trouble.words} | $grants | ${minutes(awake)} | ${minutes(trained)} | $share | $longest |"
        }

        private fun minutes(time: Duration) = "%.1f".format(Locale.ROOT, time.toDouble(DurationUnit.MINUTES) / NIGHTS)
    }

    @Test
    fun `nothing is kept awake, lost or left over, and the README has the minutes`() {
        val rows = Trouble.entries.map { trouble -> Row(trouble).also { pass(it) } }
        println("| ten nights in which | grants | awake, min a night | trained, min a night | awake for each trained | longest without |")
        println("|---|---|---|---|---|---|")
        rows.forEach(::println)
        for (trouble in listOf(Trouble.STOPPED, Trouble.KILLED)) {
            assertEquals(GrantPhase.entries.toSet(), rows.single { it.trouble == trouble }.struck, trouble.words)
        }
        val readme = File("../README.md").readLines()
        for (row in rows) assertTrue(row.toString() in readme, "android/README.md lacks this row: $row")
    }

    private fun pass(row: Row) = repeat(NIGHTS) { number ->
        val files = File("$folder/${row.trouble}-$number").apply { mkdirs() }
        runTest(timeout = Duration.INFINITE) {
            val night = SimulatedNight(this, files, row.trouble, Random(row.trouble.ordinal * NIGHTS + number))
            night.pass()
            row.add(night)
        }
    }

    private companion object {
        const val NIGHTS = 10
    }
}
