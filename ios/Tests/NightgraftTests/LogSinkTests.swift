import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

final class LogSinkTests: TemporaryFolderTestCase {
    /// Keeps the lines of nights, tells when one has ended, and throws.
    private struct Sink: LogSink {
        let lines: Recorder<String>
        let ended: Latch

        func log(_ message: String, level: LogLevel, target: String) throws {
            guard target.hasPrefix("nightgraft"), message.hasPrefix("the night") else { return }
            lines.add("\(level): \(message)")
            if message.hasPrefix("the night ended") {
                Task { await ended.open() }
            }
            throw AppError(number: 7)
        }
    }

    func testASinkGetsWhatANightWaitsForAndMayThrow() async throws {
        let (lines, ended) = (Recorder<String>(), Latch())
        setLogSink(Sink(lines: lines, ended: ended))
        defer { setLogSink(nil) }
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let session = tiny.session
        let unplugged = FixedPlatform()
        unplugged.change { $0.charging = false }
        try await session.runNight(on: unplugged) { progress in
            if progress.phase == .waiting { session.stop() }
        }
        await ended.wait()
        XCTAssertEqual(
            lines.values,
            ["info: the night waits: waiting for the charger", "info: the night ended: stopped on request"])
    }
}
