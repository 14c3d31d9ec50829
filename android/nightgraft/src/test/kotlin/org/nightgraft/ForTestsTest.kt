package org.nightgraft

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** What apps show in their own tests. */
@OptIn(ForTests::class)
internal class ForTestsTest {
    @Test
    fun `progress has what it is given, and nothing else`() {
        val training = Progress.of(Phase.TRAINING, step = 3, totalSteps = 6, loss = 2.5)
        assertEquals(listOf(Phase.TRAINING, 3L, 6L, 2.5), with(training) { listOf(phase, step, totalSteps, loss) })
        assertEquals(listOf(null, null, null), with(training) { listOf(waiting, timeLeft, nothingToDo) })
        assertEquals(WaitKind.IN_USE, Progress.of(Phase.WAITING, waitingFor = WaitKind.IN_USE).waiting?.kind)
    }

    @Test
    fun `a graft that is refused is not promoted, and an answer has its words`() {
        assertEquals(true to 1L, SessionReport.of().let { it.promoted to it.graft })
        val forgets = RefusalKind.Forgets(increase = 0.3, limit = 0.2)
        val refused = SessionReport.of(refusals = listOf(forgets))
        assertEquals(listOf(false, false, listOf(forgets)), with(refused) { listOf(promoted, verdict.promote, verdict.refusals.map { it.kind }) })
        assertEquals("At seven." to 2, Answer.of("At seven.").let { it.text to it.tokens })
    }
}
