import Foundation
import XCTest

/// The sample's Xcode project, as far as that can be looked at without Xcode.
final class XcodeProjectTests: XCTestCase {
    private let sample = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../Sample").standardized

    private func objects() throws -> [String: [String: Any]] {
        let data = try Data(contentsOf: sample.appendingPathComponent("Notebook.xcodeproj/project.pbxproj"))
        let project = try PropertyListSerialization.propertyList(from: data, format: nil) as? [String: Any]
        return try XCTUnwrap(project?["objects"] as? [String: [String: Any]])
    }

    private func strings(in value: Any) -> [String] {
        switch value {
        case let text as String: [text]
        case let list as [Any]: list.flatMap(strings)
        case let fields as [String: Any]: fields.values.flatMap(strings)
        default: []
        }
    }

    func testWhatItNamesIsThere() throws {
        let objects = try objects()
        let named = objects.values.flatMap { strings(in: $0) }.filter { $0.hasPrefix("4E47") }
        XCTAssertEqual(Set(named).subtracting(objects.keys), [])
        // All but the project itself are a part of something.
        let roots = objects.keys.filter { !named.contains($0) }
        XCTAssertEqual(roots.compactMap { objects[$0]?["isa"] as? String }, ["PBXProject"])

        func all(_ kind: String, _ field: String) -> Set<String> {
            Set(objects.values.filter { $0["isa"] as? String == kind }.compactMap { $0[field] as? String })
        }
        let folders = all("PBXFileSystemSynchronizedRootGroup", "path")
        XCTAssertEqual(folders, ["App", "Notebook"])
        for path in folders.union(["App/Info.plist"]).union(all("XCLocalSwiftPackageReference", "relativePath")) {
            XCTAssert(FileManager.default.fileExists(atPath: sample.appendingPathComponent(path).path), path)
        }
        XCTAssertEqual(all("XCSwiftPackageProductDependency", "productName"), ["Nightgraft", "NightgraftTesting"])
    }
}
