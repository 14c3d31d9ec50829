package org.nightgraft

import java.io.File
import org.jetbrains.kotlin.abi.tools.AbiFilters
import org.jetbrains.kotlin.abi.tools.AbiTools
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.CsvSource

/** Lists what apps see, with the tool of Gradle's `abiValidation`. `cargo xtask kotlin` compares the lists with the committed ones. */
class PublicApiTest {
    private val build = System.getProperty("nightgraft.build")
    private val lists = System.getProperty("nightgraft.lists")

    @ParameterizedTest
    @CsvSource(
        "nightgraft, org/nightgraft/AdapterStore",
        "nightgraft-testing, org/nightgraft/testing/FixedPlatform",
        "nightgraft-work, org/nightgraft/work/PersonalizationWorker",
    )
    fun `the public API has no generated code in it`(library: String, known: String) {
        val files = File("$build/$library/classes").walk().filter { it.extension == "class" }.sortedBy { it.path }.toList()
        val api = buildString { AbiTools.getInstance().printJvmDump(this, files, AbiFilters.EMPTY) }
        File("$lists/$library.api").writeText(api)
        assertTrue("class $known " in api)
        assertFalse(api.lines().any { it.startsWith("public ") && " org/nightgraft/ffi/" in it })
    }
}
