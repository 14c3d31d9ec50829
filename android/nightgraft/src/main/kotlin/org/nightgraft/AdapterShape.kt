package org.nightgraft

/**
 * A product of a block that can be adapted: one of its matrices, as GGUF names it. Where a model keeps queries, keys and values in
 * one matrix, or the gate and what it multiplies (Phi), that one is adapted if all of its parts are chosen.
 */
public enum class AdapterTarget(internal val gguf: String) {
    /** Queries of the attention, `attn_q`. */
    ATTENTION_QUERY("attn_q"),

    /** Keys of the attention, `attn_k`. */
    ATTENTION_KEY("attn_k"),

    /** Values of the attention, `attn_v`. */
    ATTENTION_VALUE("attn_v"),

    /** What the attention gives back, `attn_output`. */
    ATTENTION_OUTPUT("attn_output"),

    /** The gate of the feed-forward part, `ffn_gate`. */
    FEED_FORWARD_GATE("ffn_gate"),

    /** The way up in the feed-forward part, `ffn_up`. */
    FEED_FORWARD_UP("ffn_up"),

    /** The way down in the feed-forward part, `ffn_down`. */
    FEED_FORWARD_DOWN("ffn_down");

    /** Usual choices. */
    public companion object {
        /** All seven. */
        public val ALL: Set<AdapterTarget> = entries.toSet()

        /** The four of the attention. */
        public val ATTENTION: Set<AdapterTarget> =
            setOf(ATTENTION_QUERY, ATTENTION_KEY, ATTENTION_VALUE, ATTENTION_OUTPUT)

        /** The three of the feed-forward part. */
        public val FEED_FORWARD: Set<AdapterTarget> = ALL - ATTENTION
    }
}

/** Which blocks are adapted. */
public sealed interface AdapterLayers {
    /** All of them. */
    public data object All : AdapterLayers

    /**
     * The ones nearest the output: training is faster, because it goes back no further.
     *
     * @property count how many
     */
    public data class Last(val count: Int) : AdapterLayers

    /**
     * The ones with these numbers, counted from 0 at the input.
     *
     * @property layers their numbers, both ends included
     */
    public data class Range(val layers: IntRange) : AdapterLayers
}

internal fun Set<AdapterTarget>.toFfi() = if (this == AdapterTarget.ALL) "all" else joinToString(",") { it.gguf }

internal fun AdapterLayers.toFfi() =
    when (this) {
        AdapterLayers.All -> "all"
        is AdapterLayers.Last -> "last:$count"
        is AdapterLayers.Range -> "${layers.first}..${layers.last + 1}"
    }
