package org.nightgraft.testing

import java.io.File
import java.nio.file.Files
import java.nio.file.StandardCopyOption.REPLACE_EXISTING

/**
 * A language model of less than a megabyte with random weights. It trains in milliseconds and has nothing sensible to say: it is
 * for tests of what an app does with answers, not of what is in them.
 */
public object TinyModel {
    private const val RESOURCE = "tiny.gguf"

    /** The model's file, which is there until the process ends. */
    public val file: File by lazy {
        val packed = checkNotNull(javaClass.getResourceAsStream(RESOURCE)) { "the archive of nightgraft-testing lacks $RESOURCE" }
        File.createTempFile("nightgraft-tiny", ".gguf").also { file ->
            file.deleteOnExit()
            packed.use { Files.copy(it, file.toPath(), REPLACE_EXISTING) }
        }
    }
}
