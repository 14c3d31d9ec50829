package org.nightgraft

/** Marks what makes reports that the library has not made, for tests of what an app does with them. It may change with any version. */
@RequiresOptIn("This is for tests, and may change with any version.")
@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.FUNCTION)
public annotation class ForTests
