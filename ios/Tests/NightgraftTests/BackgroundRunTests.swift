import Foundation
import NightgraftTesting
import XCTest

@testable import Nightgraft

final class BackgroundRunTests: XCTestCase {
    func testWorkThatEndsCompletesTheGrant() async {
        let grant = OnDemandGrant()
        let endings = Recorder<BackgroundEnding>()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            { .nothingToDo(.divergedBefore, text: "tried") }
        }
        XCTAssertEqual(endings.values, [.ended(.nothingToDo(.divergedBefore, text: "tried"))])
        XCTAssertEqual(grant.completions, [true])
        grant.expire()
        XCTAssertEqual(grant.completions, [true])
    }

    func testErrorsCompleteItToo() async {
        let grant = OnDemandGrant()
        let endings = Recorder<BackgroundEnding>()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            throw NightgraftError.wrongKey(reason: "")
        }
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            { throw AppError(number: 1) }
        }
        XCTAssertEqual(endings.values, [.failed(.wrongKey(reason: "")), .failed(nil)])
        XCTAssertEqual(grant.completions, [false, false])
    }

    func testExpirationWhileOpeningCompletesAtOnce() async {
        let grant = OnDemandGrant()
        let endings = Recorder<BackgroundEnding>()
        let ran = Flag()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            grant.expire()
            XCTAssertEqual(grant.completions, [true])
            return {
                ran.raise()
                return .paused(.stopped)
            }
        }
        XCTAssertFalse(ran.isRaised)
        XCTAssertEqual(endings.values, [.expired])
        XCTAssertEqual(grant.completions, [true])
    }

    func testExpirationWaitsUntilTheWorkHasSaved() async {
        let grant = OnDemandGrant()
        let endings = Recorder<BackgroundEnding>()
        let saved = Flag()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            {
                grant.expire()
                grant.expire()
                XCTAssert(Task.isCancelled)
                XCTAssertEqual(grant.completions, [])
                saved.raise()
                return .paused(.stopped)
            }
        }
        XCTAssert(saved.isRaised)
        XCTAssertEqual(endings.values, [.expired])
        XCTAssertEqual(grant.completions, [true])
    }

    func testWorkThatFinishesAsItExpiresHasFinished() async {
        let grant = OnDemandGrant()
        let endings = Recorder<BackgroundEnding>()
        await BackgroundRun(grant: grant, beforeCompletion: endings.add).run {
            {
                grant.expire()
                return .nothingToDo(.everythingLearned, text: "all done")
            }
        }
        XCTAssertEqual(endings.values, [.ended(.nothingToDo(.everythingLearned, text: "all done"))])
        XCTAssertEqual(grant.completions, [true])
    }
}
