// The build for phones: the library's archive with the native libraries in it, the one for WorkManager, and the sample app. It needs the Android
// SDK; pom.xml compiles and tests the same sources without it.

pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "nightgraft-android"

include(":nightgraft", ":nightgraft-testing", ":nightgraft-work", ":sample")
