package org.nightgraft

import org.nightgraft.ffi.Refusal as FfiRefusal
import org.nightgraft.ffi.RefusalKind as FfiRefusalKind

/**
 * A reason of the gate's not to use a new adapter.
 *
 * @property kind which, with its figures
 * @property text the same as a sentence in English
 */
@ConsistentCopyVisibility
public data class Refusal internal constructor(val kind: RefusalKind, val text: String)

/** A reason of the gate's. Shares are of the loss of the one compared with. */
public sealed interface RefusalKind {
    /** The gate's settings make no sense. */
    public data object InvalidSettings : RefusalKind

    /** A loss is no usable number: the training diverged. */
    public data object NotFinite : RefusalKind

    /** Two models were not measured on the same examples. */
    public data object Mismatched : RefusalKind

    /** There is nothing to measure on. */
    public data object Unmeasured : RefusalKind

    /**
     * Too few examples were kept aside.
     *
     * @property examples how many there are
     * @property needed how many there must be
     */
    public data class TooFewHeldOut(val examples: Long, val needed: Long) : RefusalKind

    /**
     * The adapter does what the base does.
     *
     * @property change the mean change of the loss, as a share
     */
    public data class NoEffect(val change: Double) : RefusalKind

    /**
     * Examples that were kept aside do not get better, or not by enough, or not for certain.
     *
     * @property thanCurrent whether the graft in use was compared with, instead of the base
     * @property gain the share of the loss that was saved; below zero, the adapter is worse
     * @property needed the least that counts
     */
    public data class NotBetter(val thanCurrent: Boolean, val gain: Double, val needed: Double) : RefusalKind

    /**
     * It learned its examples by heart.
     *
     * @property share the share of the loss that was saved on them and not on others
     * @property limit the most that is allowed
     */
    public data class Overfits(val share: Double, val limit: Double) : RefusalKind

    /**
     * General texts get worse.
     *
     * @property increase the share by which the loss rose
     * @property limit the most that is allowed
     */
    public data class Forgets(val increase: Double, val limit: Double) : RefusalKind

    /**
     * The examples are hardly better language than their words in random order.
     *
     * @property saved the share of the loss that their order saves
     * @property needed the least that is asked
     */
    public data class NotLanguage(val saved: Double, val needed: Double) : RefusalKind
}

internal fun FfiRefusal.toPublic() = Refusal(kind.toPublic(), text)

private fun FfiRefusalKind.toPublic(): RefusalKind =
    when (this) {
        is FfiRefusalKind.InvalidSettings -> RefusalKind.InvalidSettings
        is FfiRefusalKind.NotFinite -> RefusalKind.NotFinite
        is FfiRefusalKind.Mismatched -> RefusalKind.Mismatched
        is FfiRefusalKind.Unmeasured -> RefusalKind.Unmeasured
        is FfiRefusalKind.TooFewHeldOut -> RefusalKind.TooFewHeldOut(examples.toLong(), needed.toLong())
        is FfiRefusalKind.NoEffect -> RefusalKind.NoEffect(change)
        is FfiRefusalKind.NotBetter -> RefusalKind.NotBetter(thanCurrent, gain, needed)
        is FfiRefusalKind.Overfits -> RefusalKind.Overfits(share, limit)
        is FfiRefusalKind.Forgets -> RefusalKind.Forgets(increase, limit)
        is FfiRefusalKind.NotLanguage -> RefusalKind.NotLanguage(saved, needed)
    }
