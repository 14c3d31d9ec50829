package org.nightgraft

import java.io.File
import org.jetbrains.kotlin.abi.tools.AbiFilters
import org.jetbrains.kotlin.abi.tools.AbiTools
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Lists what apps see, with the tool of Gradle's `abiValidation`. `cargo xtask kotlin` compares the list with the committed one. */
class PublicApiTest {
    private val classes = File(System.getProperty("nightgraft.classes"))
    private val list = File(System.getProperty("nightgraft.api"))

    @Test
    fun `the public API has no generated code in it`() {
        val files = classes.walk().filter { it.extension == "class" }.sortedBy { it.path }.toList()
        val api = buildString { AbiTools.getInstance().printJvmDump(this, files, AbiFilters.EMPTY) }
        list.writeText(api)
        assertTrue("class org/nightgraft/AdapterStore " in api)
        assertFalse(api.lines().any { it.startsWith("public ") && " org/nightgraft/ffi/" in it })
    }
}
