package org.nightgraft

import org.nightgraft.ffi.version as nativeVersion

/** The native library as a whole. */
public object Nightgraft {
    /** The version of the native library, such as `0.1.0`. */
    public val version: String get() = native { nativeVersion() }
}
