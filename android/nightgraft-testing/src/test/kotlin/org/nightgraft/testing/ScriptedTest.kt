package org.nightgraft.testing

import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test
import org.nightgraft.ForTests
import org.nightgraft.Message
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.SessionReport
import org.nightgraft.SliceOutcome

@OptIn(ForTests::class)
internal class ScriptedTest {
    private val script = listOf(Progress.of(Phase.TRAINING, step = 1, totalSteps = 2), Progress.of(Phase.FINISHED, 2, 2))
    private val report = SessionReport.of()
    private val session = ScriptedSession(script, SliceOutcome.Finished(report))

    @Test
    fun `a session tells its script, and then its report`() = runBlocking<Unit> {
        assertNull(session.report)
        val told = mutableListOf<Progress>()
        assertEquals(SliceOutcome.Finished(report), session.runSlice { told += it })
        assertEquals(script, told)
        assertEquals(report to script.last(), session.report to session.progress)
        assertEquals(script, session.night(FixedPlatform()).toList())
    }

    @Test
    fun `a generator answers as it is told, word by word`() = runBlocking<Unit> {
        val generator = ScriptedGenerator { "You said: ${it.last().content}" }
        val pieces = mutableListOf<String>()
        assertEquals("You said: a b", generator.answer(listOf(Message.user("a b"))) { pieces += it }.text)
        assertEquals(listOf("You", " said:", " a", " b"), pieces)
        assertEquals(pieces, generator.complete("a b").toList())
    }
}
