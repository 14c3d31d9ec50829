// What the Swift in the documents takes for granted. `cargo xtask swift` type-checks the two together.

import Foundation
import Nightgraft

let modelURL = URL(fileURLWithPath: "model.gguf")
let folder = URL(fileURLWithPath: "store")
let key = StoreKey.random()
let notes = ["The ferry leaves at seven."]
@MainActor let platform = ApplePlatform()

func show(_ progress: TrainingProgress) {}

#if canImport(FoundationNetworking)
@_exported import FoundationNetworking

// Apple's name of it.
let NSURLSessionDownloadTaskResumeData = URLSessionDownloadTaskResumeData

extension URLSessionConfiguration {
    // Linux has no background sessions.
    class func background(withIdentifier identifier: String) -> URLSessionConfiguration { .default }
}
#endif

// Apple's asset packs, as BackgroundAssets declares them.
struct AssetPack: Sendable {}
struct FilePath: ExpressibleByStringLiteral {
    init(stringLiteral: String) {}
}
actor AssetPackManager {
    static let shared = AssetPackManager()
    func assetPack(withID assetPackID: String) async throws -> AssetPack { AssetPack() }
    func ensureLocalAvailability(of assetPack: AssetPack) async throws {}
    nonisolated func url(for path: FilePath) throws -> URL { folder }
}

// MARK: For Apple's systems
// These parts of the library are not compiled on Linux. `cargo xtask swift` makes sure that the files in
// Sources/Nightgraft/Apple declare them like this.

final class ApplePlatform: Platform {
    @MainActor
    init(
        storage: URL = URL(fileURLWithPath: NSHomeDirectory()), onChange: (@Sendable () -> Void)? = nil
    ) {}

    func state() -> DeviceState { fatalError("only compiled") }
}
