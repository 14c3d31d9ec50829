// An app that builds the library with itself, from a checkout beside its own folder.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "first-answer"

includeBuild("../nightgraft/android")
