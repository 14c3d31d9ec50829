package org.nightgraft

import org.nightgraft.ffi.GateSettings as FfiGateSettings
import org.nightgraft.ffi.SessionSettings as FfiSessionSettings

/**
 * How a session trains. A session under way goes on only with the settings that it began with; see [startAnew].
 *
 * @property rank the adapter's rank: how much it can hold, and how large it is
 * @property alpha the adapter's scale, divided by the rank
 * @property targets which products of a block are adapted
 * @property layers which blocks are adapted; the last ones alone are faster
 * @property dropout the share of an adapter's inputs that is left out at random, 0 to below 1
 * @property learningRate the rate at its highest; null for one by the number of steps and the size of the weights
 * @property epochs how often each example is learned
 * @property steps optimizer steps at most; null for all epochs
 * @property context the most tokens of an example that are seen at once; longer ones are split or cut
 * @property batchTokens the tokens of a micro-batch: more take more memory, and make fewer steps; null for 64 to 512, by how much
 *   there is to learn
 * @property accumulate micro-batches for one optimizer step
 * @property heldOut the share of examples that is kept aside for the judgement, above 0. Where it gives fewer than
 *   [GateSettings.minHeldOut], up to a quarter is; with fewer examples than that takes (16 with the defaults) nothing is
 *   trained: [NothingToDoReason.TooFew]
 * @property replay old examples that are learned again for each new one
 * @property checkpointEvery optimizer steps between two saves; being stopped saves too
 * @property seed makes a session repeatable: same model, examples, settings and seed, same bytes
 * @property threads threads that compute; null for what suits the device. The result does not depend on it.
 * @property device what computes. Whatever a GPU does wrong, the session goes on with the processor, and [Progress.warning] says why.
 * @property memoryLimit bytes of memory that the session may take, the mapped model not counted; null for no limit. It
 *   slows down to fit, with the same result, or fails with [NightgraftException.OutOfMemoryBudget].
 * @property startAnew whether a session under way that began with other settings, or with another model, is given up
 * @property gate when the result may come into use
 */
public class SessionSettings(
    public val rank: Int = 8,
    public val alpha: Float = 16f,
    public val targets: Set<AdapterTarget> = AdapterTarget.ALL,
    public val layers: AdapterLayers = AdapterLayers.All,
    public val dropout: Float = 0f,
    public val learningRate: Double? = null,
    public val epochs: Int = 3,
    public val steps: Int? = null,
    public val context: Int = 256,
    public val batchTokens: Int? = null,
    public val accumulate: Int = 1,
    public val heldOut: Float = 0.1f,
    public val replay: Double = 1.0,
    public val checkpointEvery: Int = 20,
    public val seed: Long = 42,
    public val threads: Int? = null,
    public val device: ComputeDevice = ComputeDevice.Processor,
    public val memoryLimit: Long? = null,
    public val startAnew: Boolean = false,
    public val gate: GateSettings = GateSettings(),
)

/**
 * What is asked of a trained adapter before it comes into use. The defaults come from measurements.
 *
 * @property minHeldOut examples kept aside without which nothing is trained and promoted, at least 2
 * @property minGain the share of the base's loss on them that it must save
 * @property minGainOnCurrent the share of the loss of the graft in use on them that it must save
 * @property maxForgetting the share by which its loss on general texts may be higher than the base's
 * @property maxOverfit the share of the loss that it may save on learned examples only: what it knows by heart
 * @property minWordOrder the share of the loss that the order of the examples' words must save: garbage has none. 0
 *   switches it off, for languages that the base does not know.
 */
public class GateSettings(
    public val minHeldOut: Int = 4,
    public val minGain: Double = 0.01,
    public val minGainOnCurrent: Double = 0.002,
    public val maxForgetting: Double = 0.2,
    public val maxOverfit: Double = 0.25,
    public val minWordOrder: Double = 0.07,
)

internal fun SessionSettings.toFfi() = checkedSettings {
    FfiSessionSettings(
        rank = rank.unsigned("rank"),
        alpha = alpha,
        targets = targets.toFfi(),
        layers = layers.toFfi(),
        dropout = dropout,
        learningRate = learningRate,
        epochs = epochs.unsigned("epochs"),
        steps = steps?.unsigned("steps"),
        context = context.unsigned("context"),
        batchTokens = batchTokens?.unsigned("batchTokens"),
        accumulate = accumulate.unsigned("accumulate"),
        heldOut = heldOut,
        replay = replay,
        checkpointEvery = checkpointEvery.unsigned("checkpointEvery"),
        seed = seed.toULong(),
        threads = threads?.unsigned("threads"),
        device = device.toFfi(),
        memoryLimit = memoryLimit?.unsigned("memoryLimit"),
        startAnew = startAnew,
        gate = gate.toFfi(),
    )
}

private fun GateSettings.toFfi() =
    FfiGateSettings(
        minHeldOut = minHeldOut.unsigned("minHeldOut"),
        minGain = minGain,
        minGainOnCurrent = minGainOnCurrent,
        maxForgetting = maxForgetting,
        maxOverfit = maxOverfit,
        minWordOrder = minWordOrder,
    )
