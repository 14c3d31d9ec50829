import Foundation
import NightgraftTesting
import XCTest

@testable import Nightgraft

final class ConcurrencyTests: TemporaryFolderTestCase {
    func testCancellingTheTaskStopsTheSlice() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let started = Latch()
        let task = Task {
            try await tiny.session.run { progress in
                if progress.step > 0 {
                    Task { await started.open() }
                }
            }
        }
        await started.wait()
        task.cancel()
        let outcome = try await task.value
        XCTAssertEqual(outcome, .paused(.stopped))
        let session = tiny.session
        let step = session.progress.step
        XCTAssertGreaterThan(step, 0)
        // It goes on from there.
        try await session.run { progress in
            if progress.step > step { session.stop() }
        }
        XCTAssertGreaterThan(session.progress.step, step)
    }

    func testATaskThatIsCancelledBeforeItBeginsDoesNothing() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        for _ in 0..<20 {
            let task = Task { try await tiny.session.run() }
            task.cancel()
            let outcome = try await task.value
            XCTAssertEqual(outcome, .paused(.stopped))
        }
        // The stops of the cancelled ones are spent.
        let outcome = try await tiny.session.run(for: .zero)
        XCTAssertEqual(outcome, .paused(.deadline))
    }

    func testStopFromAnotherThread() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let session = tiny.session
        let outcome = try await session.run { progress in
            if progress.step > 0 {
                Thread.detachNewThread { session.stop() }
            }
        }
        XCTAssertEqual(outcome, .paused(.stopped))
    }

    func testLeavingTheLoopStopsTheSliceSaved() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let slice = tiny.session.slice()
        for try await progress in slice where progress.step > 0 {
            break
        }
        let outcome = try await slice.outcome
        XCTAssertEqual(outcome, .paused(.stopped))
    }

    func testASliceTellsItsPhasesAndItsEnd() async throws {
        let tiny = try await TinySession(in: folder, steps: 10)
        var seen: [TrainingProgress] = []
        let slice = tiny.session.slice()
        for try await progress in slice {
            seen.append(progress)
        }
        guard case .finished(let report) = try await slice.outcome else { return XCTFail("it did not finish") }
        XCTAssertEqual(report.steps, 10)
        XCTAssertEqual(seen.last?.phase, .finished)
        XCTAssertEqual(seen.last?.step, 10)
        XCTAssertEqual(seen.last?.fractionCompleted, 1)
        let steps = seen.map(\.step)
        XCTAssertEqual(steps, steps.sorted())
        XCTAssertEqual(tiny.session.report, report)
    }

    func testTwoTasksShareASession() async throws {
        let tiny = try await TinySession(in: folder, steps: 60)
        let running = Recorder<Int>()
        let outcomes = try await withThrowingTaskGroup(of: SliceOutcome.self) { group in
            for number in 0..<2 {
                group.addTask { try await tiny.session.run { _ in running.add(number) } }
            }
            var outcomes: [SliceOutcome] = []
            for try await outcome in group {
                outcomes.append(outcome)
            }
            return outcomes
        }
        // The second waits until the first has finished the session.
        XCTAssertEqual(Set(running.values), [0, 1])
        XCTAssertEqual(zip(running.values, running.values.dropFirst()).filter { $0 != $1 }.count, 1)
        guard case .finished(let report) = outcomes[0], case .nothingToDo = outcomes[1] else {
            return XCTFail("\(outcomes)")
        }
        XCTAssertEqual(report.steps, 60)
    }

    func testTheStoreServesWhileASliceRuns() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let before = try await tiny.store.examples().count
        let slice = tiny.session.slice()
        var lastStep = 0
        var asked = 0
        for try await progress in slice where progress.step > lastStep {
            lastStep = progress.step
            try await tiny.store.add([.text("Note number \(asked) of a running slice.")])
            asked += 1
            if asked == 5 { break }
        }
        let outcome = try await slice.outcome
        XCTAssertEqual(outcome, .paused(.stopped))
        let after = try await tiny.store.examples().count
        XCTAssertEqual(after, before + 5)
    }

    func testDroppingEverythingWhileItRuns() async throws {
        let place = folder
        for round in 0..<10 {
            do {
                let tiny = try await TinySession(in: place, steps: endlessSteps)
                let slice = tiny.session.slice()
                var iterator = slice.makeAsyncIterator()
                while let progress = try await iterator.next(), progress.step <= round {}
            }
            // What was dropped still saves; then the store is free.
            let store = try await reopened(place.appendingPathComponent("store"))
            try await store.close()
        }
    }

    func testClosingASessionWhileItRuns() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let slice = tiny.session.slice()
        for try await progress in slice where progress.step > 0 {
            try await tiny.session.close()
            break
        }
        await expect({ if case .cancelled = $0 { true } else { false } }) { try await tiny.session.run() }
    }

    func testAnswersBesideASlice() async throws {
        let tiny = try await TinySession(in: folder, steps: endlessSteps)
        let generator = try await Generator(model: tiny.model, threads: 1)
        let slice = tiny.session.slice()
        let before = tiny.session.progress.step
        for _ in 0..<5 {
            let answer = try await generator.answer(
                to: "Where is key 3?", options: ChatOptions(maximumTokens: 8))
            XCTAssertLessThanOrEqual(answer.tokens, 8)
        }
        slice.stop()
        let outcome = try await slice.outcome
        XCTAssertEqual(outcome, .paused(.stopped))
        XCTAssertGreaterThanOrEqual(tiny.session.progress.step, before)
    }

    func testLeavingTheLoopEndsTheAnswer() async throws {
        let model = try await TinyModel.open()
        let generator = try await Generator(model: model, threads: 1)
        let stream = generator.streamCompletion(of: "One, two, three,", options: ChatOptions(maximumTokens: 480))
        for try await piece in stream where !piece.isEmpty {
            break
        }
        let answer = try await stream.answer
        XCTAssertLessThan(answer.tokens, 480)
    }

    func testACancelledTaskGetsNoAnswer() async throws {
        let model = try await TinyModel.open()
        let generator = try await Generator(model: model, threads: 1)
        let options = ChatOptions(maximumTokens: 480)
        let cancelled: [@Sendable () async throws -> Void] = [
            // Before its turn, while it is made, and in a loop over its pieces.
            {
                Self.cancelThisTask()
                _ = try await generator.answer(to: "One?", options: options)
            },
            {
                let asking = Locked<Task<Answer, any Error>?>(nil)
                let task = Task {
                    try await generator.completion(of: "One, two,", options: options) { _ in
                        asking.withLock { $0 }?.cancel()
                    }
                }
                asking.withLock { $0 = task }
                _ = try await task.value
            },
            {
                for try await _ in generator.streamCompletion(of: "One, two,", options: options) {
                    Self.cancelThisTask()
                }
            },
            {
                let stream = generator.streamAnswer(to: "One?", options: options)
                Self.cancelThisTask()
                _ = try await stream.answer
            },
        ]
        for (number, ask) in cancelled.enumerated() {
            do {
                try await Task { try await ask() }.value
                XCTFail("\(number) was answered")
            } catch {
                XCTAssert(error is CancellationError, "\(number): \(error)")
            }
        }
    }

    func testWhoStopsAnAnswerGetsWhatThereIsOfIt() async throws {
        let model = try await TinyModel.open()
        let generator = try await Generator(model: model, threads: 1)
        let stream = generator.streamCompletion(of: "One, two,", options: ChatOptions(maximumTokens: 480))
        stream.stop()
        let answer = try await stream.answer
        XCTAssert(answer.stopped)
    }

    private static func cancelThisTask() {
        withUnsafeCurrentTask { $0?.cancel() }
    }

    /// A store that was just dropped is closed a moment later, when what ran has saved.
    private func reopened(_ place: URL) async throws -> AdapterStore {
        for _ in 0..<100 {
            do {
                return try await AdapterStore(at: place, settings: .unencrypted())
            } catch NightgraftError.storeLocked {
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        return try await AdapterStore(at: place, settings: .unencrypted())
    }
}
