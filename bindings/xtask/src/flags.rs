//! The tasks and their options. The macro makes types, a parser and the help of this, and needs no `syn`: CI compiles this program
//! before everything else.

xflags::xflags! {
    /// What CI and contributors run.
    cmd xtask {
        /// Run some of the tests.
        cmd test {
            /// The tests of the crates without C++, as cargo fast does.
            cmd fast {}
        }

        /// All checks, or the named steps of them; stops at the first that fails.
        cmd ci {
            repeated step: String
        }

        /// Compile the Kotlin library, the sample app and what READMEs show, run the tests on the JVM.
        cmd kotlin {}

        /// Build the Swift package, run its tests, check its documentation and what READMEs show.
        cmd swift {}

        /// Type-check and test the Python package, and what READMEs show.
        cmd python {}

        /// Write the lists of the public Kotlin and Swift API that the suites compare with.
        cmd api {
            /// Only that of kotlin, or of swift.
            repeated language: String
        }

        /// Write the Kotlin, Swift and Python sides of bindings/ffi.
        cmd generate {
            /// Write nothing, and fail if they are out of date.
            optional --check
        }

        /// Fail when something is part of a package that must not be, such as C++ of the store.
        cmd dependencies {}

        /// Fail when a dependency has a licence, a source or a known fault that deny.toml does not allow.
        cmd deny {}

        /// Run the scalar kernels under Miri.
        cmd miri {}

        /// Build for arm64 Linux and test under emulation, and type-check for phones.
        cmd cross {
            /// Only the tests (arm64), only the types (phones), or both without running the tests (build).
            optional part: String
        }

        /// Build the native library for Android with the NDK, and the archive with Gradle.
        cmd android {
            /// Some of arm64-v8a, armeabi-v7a and x86_64; all if none is named.
            repeated abi: String
            /// Leave the archive out.
            optional --no-archive
            /// Build a library that computes on the processor alone, which is some megabytes smaller.
            optional --cpu-only
        }

        /// Build the static libraries for iOS and the XCFramework with Xcode.
        cmd ios {
            /// Make the Swift package of a release too, and the archive that it names.
            optional --release
            /// Build a library that computes on the processor alone, which is some megabytes smaller.
            optional --cpu-only
        }

        /// Fail when the static library shows more than the functions that apps call.
        cmd symbols {}

        /// Print the path of a model for tests that a package index has; fetch it first if need be.
        cmd fixture {
            required name: String
        }

        /// Build the small library and compare its size with bindings/size.json.
        cmd size {
            /// Write the size there instead.
            optional --update
        }
    }
}
