import org.jetbrains.kotlin.gradle.dsl.ExplicitApiMode
import org.jetbrains.kotlin.gradle.dsl.JvmTarget
import org.jetbrains.kotlin.gradle.dsl.KotlinVersion
import org.jetbrains.kotlin.gradle.dsl.abi.ExperimentalAbiValidation

plugins {
    alias(libs.plugins.android.library)
    alias(libs.plugins.kotlin.android)
    `maven-publish`
}

android {
    namespace = "org.nightgraft.work"
    compileSdk = 36

    defaultConfig {
        minSdk = 26
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    publishing {
        singleVariant("release") {
            withSourcesJar()
            withJavadocJar()
        }
    }
}

kotlin {
    explicitApi = ExplicitApiMode.Strict
    coreLibrariesVersion = libs.versions.kotlin.oldest.get()
    compilerOptions {
        languageVersion = KotlinVersion.KOTLIN_2_1
        apiVersion = KotlinVersion.KOTLIN_2_1
        jvmTarget = JvmTarget.JVM_17
        allWarningsAsErrors = true
    }
    // Compares the public API with api/nightgraft-work.api. `cargo xtask kotlin` does so with the same tool.
    @OptIn(ExperimentalAbiValidation::class)
    abiValidation {
        enabled = true
    }
}

tasks.named("check") {
    dependsOn("checkLegacyAbi")
}

publishing {
    publications {
        register<MavenPublication>("release") {
            afterEvaluate { from(components["release"]) }
            pom {
                name = "Nightgraft for WorkManager"
                description = "Runs Nightgraft's training as WorkManager's work, in the foreground and at night"
                url = "https://github.com/nightgraft/nightgraft"
                licenses {
                    license {
                        name = "MIT"
                        url = "https://opensource.org/license/mit"
                    }
                    license {
                        name = "Apache-2.0"
                        url = "https://www.apache.org/licenses/LICENSE-2.0"
                    }
                }
                scm {
                    url = "https://github.com/nightgraft/nightgraft"
                }
            }
        }
    }
}

dependencies {
    api(project(":nightgraft"))
    api(libs.work.runtime)
}
