import Foundation
import XCTest

/// The files that the tests need. `cargo xtask swift` names them in variables; a missing one is a failure.
enum TestFiles {
    static var smollm2: URL { get throws { try file("NIGHTGRAFT_SMOLLM2") } }
    static var scenario: URL { get throws { try file("NIGHTGRAFT_SCENARIO") } }

    /// Where the scenario leaves its adapter for comparison with those of other languages; nil if nobody asks.
    static var scenarioOut: URL? {
        ProcessInfo.processInfo.environment["NIGHTGRAFT_SCENARIO_OUT"].map { URL(fileURLWithPath: $0) }
    }

    private struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    private static func file(_ variable: String) throws -> URL {
        guard let path = ProcessInfo.processInfo.environment[variable] else {
            throw Missing(description: "\(variable) is not set; run the tests with cargo xtask swift")
        }
        guard FileManager.default.fileExists(atPath: path) else {
            throw Missing(description: "\(variable) names nothing that exists")
        }
        return URL(fileURLWithPath: path)
    }
}

/// A test case with a folder of its own, which is removed afterwards.
class TemporaryFolderTestCase: XCTestCase {
    private(set) var folder = URL(fileURLWithPath: "/")

    override func setUpWithError() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("nightgraft-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws {
        try FileManager.default.removeItem(at: folder)
    }
}
