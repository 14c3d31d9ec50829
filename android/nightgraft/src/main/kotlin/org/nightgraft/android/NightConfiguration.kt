package org.nightgraft.android

import java.io.File
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.withContext
import org.nightgraft.AdapterStore
import org.nightgraft.BaseModel
import org.nightgraft.NightRules
import org.nightgraft.SessionSettings

/**
 * What a [PersonalizationJobService] trains.
 *
 * @property model the base
 * @property store the examples and the grafts
 * @property settings how to train
 * @property rules when to train, besides the conditions of the job itself
 * @property grant how long one run may take. Android ends a job after ten minutes; it should be over before that.
 * @property storeFolder where the store is, for its free space; null for the app's files
 * @property closeAfterwards whether the model and the store are closed after the run. An app that has the store open
 *   itself gives that one, and false: a store is open once in a process.
 */
public class NightConfiguration(
    public val model: BaseModel,
    public val store: AdapterStore,
    public val settings: SessionSettings = SessionSettings(),
    public val rules: NightRules = NightRules(),
    public val grant: Duration = 570.seconds,
    public val storeFolder: File? = null,
    public val closeAfterwards: Boolean = true,
) {
    internal suspend fun <T> useThenRelease(work: suspend NightConfiguration.() -> T): T =
        try {
            work()
        } finally {
            if (closeAfterwards) {
                withContext(NonCancellable) { store.release() }
                model.close()
            }
        }
}
