package org.nightgraft.android

import java.io.File
import java.time.LocalTime
import kotlin.time.Duration
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.withContext
import org.nightgraft.AdapterStore
import org.nightgraft.BaseModel
import org.nightgraft.Interruption
import org.nightgraft.NightRecord
import org.nightgraft.NightRules
import org.nightgraft.NightgraftException
import org.nightgraft.PersonalizationSession
import org.nightgraft.Platform
import org.nightgraft.Progress
import org.nightgraft.SessionSettings
import org.nightgraft.SliceOutcome
import org.nightgraft.StoreKey
import org.nightgraft.StoreSettings
import org.nightgraft.WaitKind

/**
 * What a [PersonalizationJobService] or another run ([NightRun]) trains.
 *
 * @property model the base
 * @property store the examples and the grafts
 * @property settings how to train
 * @property rules when to train, besides the conditions of the job itself
 * @property grant how long one run may take; null for what the system allows: for a job 28 minutes if it runs on the charger
 *   only, from Android 12 on, else nine and a half. A run that the system stops earlier is saved.
 * @property storeFolder where the store is, for its free space; null for the app's files
 * @property closeAfterwards whether the model and the store are closed after the run. An app that has the store open
 *   itself gives that one, and false: a store is open once in a process.
 */
public class NightConfiguration(
    public val model: BaseModel,
    public val store: AdapterStore,
    public val settings: SessionSettings = SessionSettings(),
    public val rules: NightRules = NightRules(),
    public val grant: Duration? = null,
    public val storeFolder: File? = null,
    public val closeAfterwards: Boolean = true,
) {
    /** Opens a session for a job with these [options]. */
    internal suspend fun openNight(options: JobOptions, sdk: Int, platform: (NightConfiguration) -> Platform): OpenNight =
        openNight(RunTerms(defaultGrant(options.charging, sdk), options.idle), platform)

    /** Opens a session for a run on these [terms], on the device that [platform] looks at. */
    internal suspend fun openNight(terms: RunTerms, platform: (NightConfiguration) -> Platform): OpenNight =
        releasedOnFailure({ release() }) {
            val device = platform(this)
            val lastNight = store.nights().lastOrNull()
            ConfiguredNight(this, PersonalizationSession.open(model, store, settings), device, terms, lastNight)
        }

    internal suspend fun release() {
        if (!closeAfterwards) return
        try {
            store.release()
        } finally {
            model.close()
        }
    }

    /** Opens what a night needs. */
    public companion object {
        /**
         * Opens the model and the store, both or none; they are closed after the run.
         *
         * @param model the model's file
         * @param store the store's folder
         * @param key the store's key, such as a [KeystoreKey]
         * @param settings how to train
         * @param rules when to train
         * @throws org.nightgraft.NightgraftException as [BaseModel.open], [StoreKey.loadOrCreate] and [AdapterStore.open]
         */
        public suspend fun open(
            model: File,
            store: File,
            key: StoreKey,
            settings: SessionSettings = SessionSettings(),
            rules: NightRules = NightRules(),
        ): NightConfiguration {
            val base = BaseModel.open(model.path)
            return releasedOnFailure({ base.close() }) {
                val secret = key.loadOrCreate()
                try {
                    val opened = AdapterStore.open(store.path, StoreSettings(key = secret))
                    NightConfiguration(base, opened, settings, rules, storeFolder = store)
                } finally {
                    secret.fill(0)
                }
            }
        }
    }
}

private inline fun <T> releasedOnFailure(release: () -> Unit, open: () -> T): T =
    try {
        open()
    } catch (error: Throwable) {
        release()
        throw error
    }

/** A session on what the app has configured, after the [lastNight] in the store's log. */
private class ConfiguredNight(
    private val configuration: NightConfiguration,
    private val session: PersonalizationSession,
    private val platform: Platform,
    private val terms: RunTerms,
    private val lastNight: NightRecord?,
) : OpenNight {
    override suspend fun train(onProgress: (Progress) -> Unit): SliceOutcome {
        val listening = (platform as? AndroidPlatform)?.listen(::lookAgain)
        // Who asks for training does not mind that they use the device.
        val seen = if (terms.idle || terms.whileUsed) IdlePlatform(platform) else platform
        val grant = configuration.grant ?: terms.grant
        return listening.use {
            session.runNight(seen, configuration.rules, grant, onProgress = onProgress)
        }
    }

    /** The system may call it on the main thread while the session is being closed. */
    private fun lookAgain() {
        try {
            session.deviceChanged()
        } catch (_: NightgraftException.Cancelled) {
            // Nobody waits any more.
        }
    }

    override fun stop(): Unit = session.stop()

    override fun forbiddenFor(kind: WaitKind): Duration? = configuration.rules.forbiddenFor(kind, LocalTime.now())

    override suspend fun release(interruption: Interruption?) {
        try {
            session.release()
            // A run that is stopped before it waits or trains is not in the log, whose last night is another's.
            val store = configuration.store
            if (interruption != null && store.nights().lastOrNull() != lastNight) store.noteInterruption(interruption)
        } finally {
            configuration.release()
        }
    }
}
