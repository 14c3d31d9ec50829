package org.nightgraft

import java.io.File
import java.nio.file.Path
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.withTimeout
import org.nightgraft.testing.TinyModel

/** What the suite is given; it fails when something is missing. */
internal object TestFiles {
    /** A real model. */
    val smollm2: String get() = file("NIGHTGRAFT_SMOLLM2")

    /** A model that trains in milliseconds. */
    val tiny: String get() = TinyModel.file.path

    /** The scenario that all languages play. */
    val scenario: File get() = File(file("NIGHTGRAFT_SCENARIO"))

    private fun file(variable: String): String {
        val path = System.getenv(variable) ?: error("$variable is not set; run the suite with: cargo xtask kotlin")
        check(File(path).exists()) { "$variable names $path, which is not there" }
        return path
    }
}

/** Made-up sentences, all different. */
internal fun madeUpExamples(count: Int, from: Int = 0): List<Example> =
    (from until from + count).map { Example.Text("The boat number $it is called Marrowby, and it has $it sails.") }

/** A session that lasts longer than any test. */
internal val ENDLESS = sessionOf(steps = 10_000_000, learningRate = 1e-6)

/** A session of a few steps. */
internal val SHORT = sessionOf(steps = 6)

/** A session of so many steps on the tiny model. */
internal fun sessionOf(steps: Int, learningRate: Double = 1e-3, rank: Int = 2, memoryLimit: Long? = null) =
    SessionSettings(
        rank = rank,
        context = 64,
        batchTokens = 64,
        steps = steps,
        threads = 1,
        learningRate = learningRate,
        memoryLimit = memoryLimit,
    )

/** A session on the tiny model, with everything that it needs. */
internal class SessionFixture(val model: BaseModel, val store: AdapterStore, val session: PersonalizationSession) {
    companion object {
        suspend fun <T> with(
            folder: Path,
            settings: SessionSettings = ENDLESS,
            examples: Int = 24,
            work: suspend SessionFixture.() -> T,
        ): T =
            BaseModel.open(TestFiles.tiny).use { model ->
                AdapterStore.open("$folder/store", StoreSettings.unencrypted()).use { store ->
                    store.add(madeUpExamples(examples))
                    PersonalizationSession.open(model, store, settings).use { session ->
                        // No test here takes long; one that hangs says so.
                        withTimeout(2.minutes) { SessionFixture(model, store, session).work() }
                    }
                }
            }
    }
}

/** A listener that lets tests wait for what it is told. */
internal class ProgressLatch : (Progress) -> Unit {
    private val told = MutableStateFlow<Progress?>(null)

    override fun invoke(progress: Progress) {
        told.value = progress
    }

    /** Waits until what was told last is so. */
    suspend fun await(isSo: (Progress) -> Boolean): Progress = told.filterNotNull().first(isSo)
}

/** The whole chain of causes, this one included. Coroutines may put copies in it. */
internal fun Throwable.chain(): List<Throwable> = generateSequence(this) { it.cause }.toList()
