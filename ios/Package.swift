// swift-tools-version: 6.0
import PackageDescription

// The Rust library under the package. Apple's systems take the XCFramework that `cargo xtask ios` makes beside this
// file (static libraries for devices and simulators, no headers in it). On Linux, where the tests run, it is
// libnightgraft_ffi.so in the folder that NIGHTGRAFT_LIBRARY names; `cargo xtask swift` builds it and sets that.
#if os(Linux)
let native: [Target] = []
let nativeDependency: [Target.Dependency] = []
// Swift 6.0's own libswiftObservation.so names a function that is in no library; nothing ever calls it.
let nativeLinking: [LinkerSetting] =
    [.linkedLibrary("nightgraft_ffi"), .unsafeFlags(["-Xlinker", "--allow-shlib-undefined"])]
    + (Context.environment["NIGHTGRAFT_LIBRARY"].map { [.unsafeFlags(["-L\($0)"])] } ?? [])
#else
let native: [Target] = [.binaryTarget(name: "NightgraftLibrary", path: "Nightgraft.xcframework")]
let nativeDependency: [Target.Dependency] = ["NightgraftLibrary"]
let nativeLinking: [LinkerSetting] = [.linkedLibrary("c++"), .linkedFramework("Accelerate")]
#endif

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]

let package = Package(
    name: "Nightgraft",
    platforms: [.iOS(.v17)],
    products: [.library(name: "Nightgraft", targets: ["Nightgraft"])],
    targets: native + [
        // The C functions of the Rust library, as uniffi declares them.
        .target(name: "NightgraftFFI", dependencies: nativeDependency, linkerSettings: nativeLinking),
        // Swift over those, made by `cargo xtask generate`. Swift 6.0's compiler crashes on it in Swift 6 mode.
        .target(
            name: "NightgraftGenerated", dependencies: ["NightgraftFFI"], swiftSettings: [.swiftLanguageMode(.v5)]),
        // What apps see.
        .target(
            name: "Nightgraft", dependencies: ["NightgraftGenerated"], resources: [.copy("PrivacyInfo.xcprivacy")],
            swiftSettings: strict),
        // The sample app without its views, so that it is compiled and tested where there is no SwiftUI.
        .target(
            name: "SampleNotebook", dependencies: ["Nightgraft"], path: "Sample/Notebook", swiftSettings: strict),
        .testTarget(
            name: "NightgraftTests", dependencies: ["Nightgraft", "NightgraftGenerated", "SampleNotebook"],
            swiftSettings: strict),
    ]
)
