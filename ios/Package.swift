// swift-tools-version: 6.0
import Foundation
import PackageDescription

// Where the archive of a release lies. `cargo xtask ios --release` writes it here in the package that it makes.
let release: (url: String, checksum: String)? = nil

// The Rust library under the package is the first of these that there is:
// - the dynamic library in the folder that NIGHTGRAFT_LIBRARY names, for the machine that builds. `cargo xtask swift` builds it and
//   runs the tests with it on Linux;
// - Nightgraft.xcframework beside this file, which `cargo xtask ios` makes: static libraries for devices, simulators and the
//   Mac's own tests, without headers;
// - the XCFramework in the archive of the release.
func native() -> (library: Target?, linking: [LinkerSetting]) {
    if let folder = Context.environment["NIGHTGRAFT_LIBRARY"] {
        // Swift 6.0's own libswiftObservation.so names a function that is in no library; nothing ever calls it.
        let undefined = LinkerSetting.unsafeFlags(
            ["-Xlinker", "--allow-shlib-undefined"], .when(platforms: [.linux]))
        return (nil, [.linkedLibrary("nightgraft_ffi"), .unsafeFlags(["-L\(folder)"]), undefined])
    }
    let linking: [LinkerSetting] = [
        .linkedLibrary("c++"), .linkedFramework("Accelerate"), .linkedFramework("Metal"),
        .linkedFramework("QuartzCore"),
    ]
    let (name, framework) = ("NightgraftLibrary", "Nightgraft.xcframework")
    let isBuilt = FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(framework)")
    if let release, !isBuilt {
        return (.binaryTarget(name: name, url: release.url, checksum: release.checksum), linking)
    }
    return (.binaryTarget(name: name, path: framework), linking)
}

let (library, linking) = native()
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]

let package = Package(
    name: "Nightgraft",
    // Apps are for iOS. On a Mac their tests run without a simulator.
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "Nightgraft", targets: ["Nightgraft"]),
        .library(name: "NightgraftTesting", targets: ["NightgraftTesting"]),
    ],
    targets: (library.map { [$0] } ?? []) + [
        // The C functions of the Rust library, as uniffi declares them.
        .target(
            name: "NightgraftFFI", dependencies: library.map { [.byName(name: $0.name)] } ?? [],
            linkerSettings: linking),
        // Swift over those, made by `cargo xtask generate`. Swift 6.0's compiler crashes on it in Swift 6 mode.
        .target(
            name: "NightgraftGenerated", dependencies: ["NightgraftFFI"], swiftSettings: [.swiftLanguageMode(.v5)]),
        // What apps see.
        .target(
            name: "Nightgraft", dependencies: ["NightgraftGenerated"], resources: [.copy("PrivacyInfo.xcprivacy")],
            swiftSettings: strict),
        // What apps' tests take besides: a tiny model, and a device, a clock, a scheduler and a key that tests play.
        .target(
            name: "NightgraftTesting", dependencies: ["Nightgraft"], resources: [.copy("tiny.gguf")],
            swiftSettings: strict),
        // The sample app without its views, so that it is compiled and tested where there is no SwiftUI.
        .target(
            name: "SampleNotebook", dependencies: ["Nightgraft"], path: "Sample/Notebook", swiftSettings: strict),
        .testTarget(
            name: "NightgraftTests",
            dependencies: ["Nightgraft", "NightgraftGenerated", "NightgraftTesting", "SampleNotebook"],
            swiftSettings: strict),
    ]
)
