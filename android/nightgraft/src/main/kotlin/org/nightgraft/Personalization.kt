package org.nightgraft

import kotlin.time.Duration
import kotlinx.coroutines.flow.Flow

/**
 * What a screen or a job does with a session: [PersonalizationSession] is the one that trains, and tests may have one that only
 * says so. It gets more functions with time, which is why nothing but a test should implement it.
 */
@SubclassOptInRequired(ForTests::class)
public interface Personalization : SuspendCloseable {
    /** How far the session is. */
    public val progress: Progress

    /** What came of the session; null while it is not over. */
    public val report: SessionReport?

    /**
     * Trains until the session is over, [maxTime] has passed, or somebody stops it.
     *
     * @param maxTime how long it may take; null for as long as it takes
     * @param onProgress is called from one thread of the library, at most five times a second and at every change of
     *   phase; the last state always comes. What it throws stops the slice, saved.
     * @throws NightgraftException.Cancelled if the handle is closed or [onProgress] threw
     * @throws NightgraftException.InvalidData if an example cannot be used
     * @throws NightgraftException.OutOfMemoryBudget if the memory limit is too low
     * @throws NightgraftException.StorageFull if it cannot be saved
     * @throws NightgraftException.Unsupported if the store has a session under way that began with other settings
     */
    public suspend fun runSlice(maxTime: Duration? = null, onProgress: ((Progress) -> Unit)? = null): SliceOutcome

    /**
     * As [runSlice], as a flow: collecting it runs a slice, and it ends with the slice. The last state says how; [report]
     * has the rest. A collector that is slow misses old states, never the last one; one that ends early stops the slice.
     */
    public fun slice(maxTime: Duration? = null): Flow<Progress>

    /**
     * Runs for one grant of the device's system: looks at the device, and waits or trains as [rules] say, until the
     * session is over, the grant ends, or somebody stops it.
     *
     * @param platform tells how the device is, such as [org.nightgraft.android.AndroidPlatform]
     * @param rules when training may run
     * @param grant how long the system lets the process run; null for no limit
     * @param lastGrant whether no other grant follows tonight, as far as is known
     * @param onProgress as for [runSlice]
     * @throws NightgraftException.Unsupported if a rule makes no sense
     * @throws NightgraftException as [runSlice]
     */
    public suspend fun runNight(
        platform: Platform,
        rules: NightRules = NightRules(),
        grant: Duration? = null,
        lastGrant: Boolean = false,
        onProgress: ((Progress) -> Unit)? = null,
    ): SliceOutcome

    /** As [runNight], as a flow: collecting it runs a night, and it ends with the grant. */
    public fun night(
        platform: Platform,
        rules: NightRules = NightRules(),
        grant: Duration? = null,
        lastGrant: Boolean = false,
    ): Flow<Progress>

    /** Stops what runs; it ends within about a quarter of a second, saved. Returns at once. */
    public fun stop()

    /** Wakes a night that waits, so that it looks at the device again. Returns at once. */
    public fun deviceChanged()
}
