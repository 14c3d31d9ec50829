import Foundation
import Nightgraft
import NightgraftTesting
import XCTest

final class ListenerTests: TemporaryFolderTestCase {
    func testAProgressListenerThatThrows() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        for round in 1...3 {
            let before = tiny.session.progress.step
            do {
                try await tiny.session.run { progress in
                    if progress.step > before { throw AppError(number: round) }
                }
                XCTFail("nothing was thrown")
            } catch {
                XCTAssertEqual(error as? AppError, AppError(number: round))
            }
            XCTAssertGreaterThan(tiny.session.progress.step, before)
        }
        let outcome = try await tiny.session.run(for: .zero)
        XCTAssertEqual(outcome, .paused(.deadline))
    }

    func testATextListenerThatThrows() async throws {
        let model = try await TinyModel.open()
        let generator = try await Generator(model: model, threads: 1)
        do {
            _ = try await generator.completion(of: "One, two,", options: ChatOptions(maximumTokens: 400)) { _ in
                throw AppError(number: 4)
            }
            XCTFail("nothing was thrown")
        } catch {
            XCTAssertEqual(error as? AppError, AppError(number: 4))
        }
        let answer = try await generator.completion(of: "One, two,", options: ChatOptions(maximumTokens: 4))
        XCTAssertLessThanOrEqual(answer.tokens, 4)
    }

    func testThePiecesMakeTheAnswer() async throws {
        let model = try await TinyModel.open()
        let generator = try await Generator(model: model, threads: 1)
        let pieces = Recorder<String>()
        let options = ChatOptions(maximumTokens: 40, temperature: 0.9, seed: 11)
        let answer = try await generator.answer(to: [.user("Where is key 5?")], options: options, onText: pieces.add)
        XCTAssertEqual(pieces.values.joined(), answer.text)
        var streamed = ""
        for try await piece in generator.streamAnswer(to: "Where is key 5?", options: options) {
            streamed += piece
        }
        XCTAssertEqual(streamed, answer.text)
    }

    func testAPlatformThatThrows() async throws {
        let tiny = try await TinySession(in: folder, steps: 20)
        let platform = FixedPlatform()
        platform.fail(with: AppError(number: 2))
        do {
            try await tiny.session.runNight(on: platform)
            XCTFail("nothing was thrown")
        } catch {
            XCTAssertEqual(error as? AppError, AppError(number: 2))
        }
        platform.fail(with: nil)
        guard case .finished(let report) = try await tiny.session.runNight(on: platform) else {
            return XCTFail("the night did not finish")
        }
        XCTAssertEqual(report.steps, 20)
    }

    func testABatteryThatCannotBeRead() async throws {
        let tiny = try await TinySession(in: folder, steps: 20)
        let platform = FixedPlatform()
        platform.change { $0.battery = -1 }
        let session = tiny.session
        let waiting = Recorder<Waiting.Kind>()
        let outcome = try await session.runNight(on: platform) { progress in
            if let kind = progress.waiting?.kind {
                waiting.add(kind)
                session.stop()
            }
        }
        XCTAssertEqual(outcome, .paused(.stopped))
        XCTAssertEqual(waiting.values.first, .unreadable)
    }

    func testANightWaitsForTheChargerAndIsWoken() async throws {
        let tiny = try await TinySession(in: folder, steps: 20)
        let platform = FixedPlatform()
        platform.change { $0.charging = false }
        let session = tiny.session
        let waited = Recorder<Waiting>()
        let outcome = try await session.runNight(on: platform) { progress in
            guard let waiting = progress.waiting, waited.values.isEmpty else { return }
            waited.add(waiting)
            platform.change { $0.charging = true }
            session.deviceChanged()
        }
        XCTAssertEqual(waited.values.first?.kind, .notCharging)
        XCTAssertFalse(waited.values.first?.text.isEmpty ?? true)
        guard case .finished = outcome else { return XCTFail("\(outcome)") }
    }
}
