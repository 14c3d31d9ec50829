package org.nightgraft

/** What computes in a session. */
public sealed interface ComputeDevice {
    /** The processor's cores. */
    public data object Processor : ComputeDevice

    /** A GPU that has shown that it computes right and faster than the processor, else the processor. */
    public data object Automatic : ComputeDevice

    /**
     * A GPU. If it is not there, the processor computes.
     *
     * @property number its place among those of the device; null for the first that can be used
     */
    public data class Gpu(val number: Int? = null) : ComputeDevice
}

internal fun ComputeDevice.toFfi() =
    when (this) {
        ComputeDevice.Processor -> "cpu"
        ComputeDevice.Automatic -> "auto"
        is ComputeDevice.Gpu -> if (number == null) "gpu" else "gpu:${number.unsigned("number")}"
    }
