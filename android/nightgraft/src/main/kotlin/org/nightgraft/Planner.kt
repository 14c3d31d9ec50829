package org.nightgraft

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import org.nightgraft.ffi.Planner as FfiPlanner

/** Says before the first step whether a session will fit and how long it will take. */
public class Planner(model: BaseModel) : AutoCloseable {
    private val ffi = native { FfiPlanner(model.ffi) }

    /**
     * Computes the memory that a session takes, without running it.
     *
     * @param settings the session's; its memory limit is the budget
     * @throws NightgraftException.Unsupported if a setting makes no sense
     * @throws NightgraftException.InvalidModel if the model cannot be trained
     */
    public suspend fun memory(settings: SessionSettings = SessionSettings()): MemoryPlan {
        val ffiSettings = settings.toFfi()
        return native { ffi.memory(ffiSettings) }.let { plan ->
            MemoryPlan(
                fits = plan.fits,
                needed = plan.needed.toLong(),
                smallest = plan.smallest.toLong(),
                batchTokens = plan.batchTokens.toInt(),
                slower = plan.slower,
            )
        }
    }

    /**
     * Runs a few real steps to measure how long a session on [store] will take. It leaves the store as it is.
     *
     * @throws NightgraftException.Unsupported if there is nothing to learn, or a setting makes no sense
     * @throws NightgraftException.InvalidModel if the model cannot be trained
     */
    public suspend fun time(store: AdapterStore, settings: SessionSettings = SessionSettings()): TimePlan {
        val ffiSettings = settings.toFfi()
        return native { ffi.time(store.ffi, ffiSettings) }.let { plan ->
            TimePlan(
                examples = plan.examples.toLong(),
                tokens = plan.tokens.toLong(),
                steps = plan.steps.toLong(),
                tokensPerSecond = plan.tokensPerSecond,
                time = plan.seconds.seconds,
            )
        }
    }

    /** Gives the handle back. A second call does nothing. */
    override fun close(): Unit = ffi.destroy()
}

/**
 * The memory of a session, the mapped model not counted.
 *
 * @property fits whether it fits into the budget
 * @property needed bytes of the plan that it would choose
 * @property smallest bytes of the smallest plan: slower with the same result, or with fewer tokens at a time
 * @property batchTokens the tokens at a time that it would choose at most; 0 if nothing fits
 * @property slower whether it would choose the slower way
 */
@ConsistentCopyVisibility
public data class MemoryPlan
internal constructor(
    val fits: Boolean,
    val needed: Long,
    val smallest: Long,
    val batchTokens: Int,
    val slower: Boolean,
)

/**
 * The time of a session.
 *
 * @property examples how many it would learn from
 * @property tokens how many tokens all passes have
 * @property steps its optimizer steps
 * @property tokensPerSecond the measured speed
 * @property time how long it would train at that speed, pauses not counted
 */
@ConsistentCopyVisibility
public data class TimePlan
internal constructor(
    val examples: Long,
    val tokens: Long,
    val steps: Long,
    val tokensPerSecond: Double,
    val time: Duration,
)
