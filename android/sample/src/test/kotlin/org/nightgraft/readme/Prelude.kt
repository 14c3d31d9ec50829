// What the Kotlin in the documents takes for granted: these imports are written above it. `cargo xtask kotlin` has it compiled
// in this package.
package org.nightgraft.readme

import android.app.DownloadManager
import android.content.Context
import android.net.Uri
import java.io.File
import kotlin.time.Duration.Companion.minutes
import org.nightgraft.*
import org.nightgraft.android.*

val path = "model.gguf"
val folder = "store"
val key = ByteArray(32)
val notes = listOf("The ferry leaves at seven.")
val platform = Platform { error("only compiled") }

fun show(progress: Progress) = println(progress.phase)
