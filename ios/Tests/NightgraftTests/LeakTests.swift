import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

final class LeakTests: TemporaryFolderTestCase {
    /// Cycles until everything that is allocated once is there.
    private let warmUp = 200
    private let cycles = 1000
    private let thousands = 3
    /// What resident memory may grow by between the two.
    private let growth = 0.01

    func testOpenOneStepCloseAThousandTimes() async throws {
        let place = folder.appendingPathComponent("store")
        do {
            let store = try await AdapterStore(at: place, settings: .unencrypted())
            try await store.add(TinyModel.examples(12))
        }
        for _ in 0..<warmUp {
            try await Self.cycle(in: place)
        }
        var readings = [try ProcessStatus.now()]
        // Code that runs for the first time takes memory once; what leaks is there after every thousand.
        for _ in 0..<thousands {
            let before = readings[readings.count - 1]
            for _ in 0..<cycles {
                try await Self.cycle(in: place)
            }
            let after = try ProcessStatus.now()
            readings.append(after)
            XCTAssertLessThanOrEqual(after.openFiles, before.openFiles)
            // Swift's own pool may grow to one thread for each processor.
            XCTAssertLessThanOrEqual(after.threads, before.threads + ProcessInfo.processInfo.activeProcessorCount)
            if Double(after.residentBytes) < Double(before.residentBytes) * (1 + growth) {
                print("before and after each \(cycles) cycles: \(readings)")
                return
            }
        }
        XCTFail("every \(cycles) cycles take more: \(readings)")
    }

    private static func cycle(in place: URL) async throws {
        let model = try await TinyModel.open()
        let store = try await AdapterStore(at: place, settings: .unencrypted())
        let session = try await PersonalizationSession(
            model: model, store: store, settings: TinySession.settings(steps: endlessSteps))
        let before = session.progress.step
        try await session.run { progress in
            if progress.step > before { session.stop() }
        }
        XCTAssertGreaterThan(session.progress.step, before)
        try await session.close()
        try await store.close()
    }
}
