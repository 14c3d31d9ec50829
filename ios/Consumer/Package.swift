// swift-tools-version: 6.0
import PackageDescription

// A package with nothing but the library. `cargo xtask swift` copies this folder out of the checkout, beside the package of a
// release, adds the README's first example and its test of a night, and runs both.
let package = Package(
    name: "FirstAnswer",
    platforms: [.iOS(.v17), .macOS(.v14)],
    dependencies: [.package(path: "../nightgraft-swift")],
    targets: [
        .executableTarget(
            name: "FirstAnswer", dependencies: [.product(name: "Nightgraft", package: "nightgraft-swift")]),
        .testTarget(
            name: "FirstAnswerTests",
            dependencies: [
                .product(name: "Nightgraft", package: "nightgraft-swift"),
                .product(name: "NightgraftTesting", package: "nightgraft-swift"),
            ]),
    ]
)
