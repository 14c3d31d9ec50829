package org.nightgraft

import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** What Gradle's build would say, on a machine without the Android SDK. */
internal class VersionsTest {
    private val catalog = File("../gradle/libs.versions.toml").readText()
    private val pom = File("../pom.xml").readText()

    private fun catalogVersion(name: String) = checkNotNull(Regex("""(?m)^$name = "([^"]+)"""").find(catalog)).groupValues[1]

    private fun pomVersion(name: String) = pom.substringAfter("<$name.version>").substringBefore("<")

    private fun String.numbers() = split('.').map(String::toInt)

    @Test
    fun `Gradle and Maven build with the same versions`() {
        for (name in listOf("kotlin", "coroutines", "jna")) assertEquals(pomVersion(name), catalogVersion(name), name)
    }

    /** By the table of `developer.android.com/build/kotlin-support`: Kotlin 2.3 needs R8 8.13.19, which 8.13.2 brings. */
    @Test
    fun `the Android plugin's R8 reads what this Kotlin compiles`() {
        assertEquals(listOf(2, 3), catalogVersion("kotlin").numbers().take(2))
        val (major, minor, patch) = catalogVersion("android-plugin").numbers()
        assertTrue(major == 8 && minor == 13 && patch >= 2, "$major.$minor.$patch")
    }

    @Test
    fun `generated code uses no class that the oldest Android lacks`() {
        val generated = File("src/generated/kotlin/org/nightgraft/ffi/nightgraft_ffi.kt").readText()
        assertTrue("java.lang.ref.Cleaner" !in generated, "java.lang.ref.Cleaner is there from API level 33 on")
    }
}
