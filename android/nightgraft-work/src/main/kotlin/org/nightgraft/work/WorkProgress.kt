package org.nightgraft.work

import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.WaitKind

/**
 * How far training is that the owner has asked for, as WorkManager tells it to a screen, in another process too.
 *
 * @property phase what it does
 * @property step the optimizer steps that are done
 * @property totalSteps all steps; 0 while they are not known
 * @property waitingFor what it waits for, in phase [Phase.WAITING]
 */
public class WorkProgress internal constructor(
    public val phase: Phase,
    public val step: Long,
    public val totalSteps: Long,
    public val waitingFor: WaitKind?,
) {
    internal constructor(progress: Progress) :
        this(progress.phase, progress.step, progress.totalSteps, progress.waiting?.kind)

    internal fun toMap(): Map<String, Any?> =
        mapOf(PHASE to phase.name, STEP to step, TOTAL_STEPS to totalSteps, WAITING_FOR to waitingFor?.name)

    internal companion object {
        private const val PHASE = "phase"
        private const val STEP = "step"
        private const val TOTAL_STEPS = "totalSteps"
        private const val WAITING_FOR = "waitingFor"

        /** What [toMap] made pairs of; null while there are none. */
        fun of(map: Map<String, Any?>): WorkProgress? {
            val phase = Phase.entries.find { it.name == map[PHASE] } ?: return null
            return WorkProgress(
                phase = phase,
                step = map[STEP] as? Long ?: 0,
                totalSteps = map[TOTAL_STEPS] as? Long ?: 0,
                waitingFor = WaitKind.entries.find { it.name == map[WAITING_FOR] },
            )
        }
    }
}
