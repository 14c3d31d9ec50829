package org.nightgraft

import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration
import kotlin.time.DurationUnit
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.nightgraft.ffi.Disposable
import org.nightgraft.ffi.InternalException as FfiPanic
import org.nightgraft.ffi.NightgraftException as FfiException

/** Runs a call of the native library and gives its errors the public types. */
internal inline fun <T> native(call: () -> T): T =
    try {
        call()
    } catch (error: Exception) {
        throw error.translated()
    }

/** As [native]; [thrown] says what a callback of the app threw meanwhile, which is then the cause. */
internal inline fun <T> native(thrown: () -> Throwable?, call: () -> T): T =
    try {
        native(call)
    } catch (error: NightgraftException.Cancelled) {
        val cause = thrown() ?: throw error
        throw NightgraftException.Cancelled("stopped, because a callback threw ${cause.javaClass.name}", cause)
    }

internal fun Exception.translated(): Exception =
    when (this) {
        is NightgraftException, is CancellationException -> this
        is FfiException -> translated()
        is FfiPanic -> NightgraftException.Internal(message ?: "the native library failed", this)
        // What generated code throws for a handle that has been freed.
        is IllegalStateException -> NightgraftException.Cancelled("the handle is closed", this)
        else -> this
    }

private fun FfiException.translated(): NightgraftException =
    when (this) {
        is FfiException.InvalidModel -> NightgraftException.InvalidModel(reason, this)
        is FfiException.ModelChanged -> NightgraftException.ModelChanged(reason, this)
        is FfiException.InvalidData -> NightgraftException.InvalidData(reason, this)
        is FfiException.OutOfMemoryBudget ->
            NightgraftException.OutOfMemoryBudget(needed.toLong(), available.toLong(), this)
        is FfiException.StorageFull -> NightgraftException.StorageFull(reason, this)
        is FfiException.StoreLocked -> NightgraftException.StoreLocked(reason, this)
        is FfiException.Corrupted -> NightgraftException.Corrupted(reason, this)
        is FfiException.WrongKey -> NightgraftException.WrongKey(reason, this)
        is FfiException.Cancelled -> NightgraftException.Cancelled(reason, this)
        is FfiException.Unsupported -> NightgraftException.Unsupported(reason, this)
        is FfiException.Internal -> NightgraftException.Internal(reason, this)
    }

/** Waits for [release] on this thread, then frees the handle. An interrupt ends the wait, not the release. */
internal fun Disposable.closeBlocking(release: suspend () -> Unit) {
    try {
        runBlocking(NonCancellable) { closeSuspending(release) }
    } catch (_: InterruptedException) {
        Thread.currentThread().interrupt()
        destroy()
    }
}

/** Waits for [release], then frees the handle. A coroutine that is cancelled cleans up in this way too. */
internal suspend fun Disposable.closeSuspending(release: suspend () -> Unit): Unit =
    withContext(NonCancellable) {
        try {
            release()
        } catch (_: Exception) {
            // Closing what is closed already, or what has failed before: its error was thrown then.
        } finally {
            destroy()
        }
    }

/** Seconds for the native library; none for a time without end. */
internal fun Duration?.toSeconds(): Double? {
    require(this == null || !isNegative()) { "a time cannot be negative: $this" }
    return this?.takeIf { it.isFinite() }?.toDouble(DurationUnit.SECONDS)
}

/** A number for the native library's unsigned types. */
internal fun Int.unsigned(name: String): UInt {
    require(this >= 0) { "$name cannot be negative: $this" }
    return toUInt()
}

/** A number for the native library's unsigned types. */
internal fun Long.unsigned(name: String): ULong {
    require(this >= 0) { "$name cannot be negative: $this" }
    return toULong()
}

/** Runs [convert]; a number that cannot be negative is refused as any other setting that makes no sense. */
internal inline fun <T> checkedSettings(convert: () -> T): T =
    try {
        convert()
    } catch (error: IllegalArgumentException) {
        throw NightgraftException.Unsupported(error.message ?: "a setting is not allowed", error)
    }
