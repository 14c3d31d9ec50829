import Foundation
import XCTest

@testable import Nightgraft

/// A hundred random nights of a phone, on simulated time.
final class HundredNightsTests: XCTestCase {
    private let columns = [
        "what is the matter", "nights", "grants", "minutes awake", "minutes trained", "awake for each trained",
        "longest without training", "most steps lost",
    ]

    func testAHundredNights() async throws {
        let phone = SimulatedPhone(seed: 2026)
        for _ in 0..<100 {
            await phone.live(through: phone.chance.pick(NightKind.allCases))
        }
        XCTAssertEqual(phone.violations, [])
        for kind in NightKind.allCases {
            XCTAssertGreaterThanOrEqual(phone.tallies[kind]?.nights ?? 0, 5, kind.rawValue)
        }
        for phase in GrantPhase.allCases {
            XCTAssertGreaterThanOrEqual(phone.expirations[phase] ?? 0, 3, phase.rawValue)
        }
        // What the app has to mend is tried once a night.
        let wrong = try XCTUnwrap(phone.tallies[.key])
        XCTAssertEqual(wrong.failures, wrong.nights)

        let table = table(of: phone.tallies)
        print(table)
        let readme = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../README.md").standardized
        XCTAssert(try String(contentsOf: readme, encoding: .utf8).contains(table), "README.md has another table")
    }

    private func table(of tallies: [NightKind: Tally]) -> String {
        let rows = NightKind.allCases.map { row($0.rawValue, tallies[$0] ?? Tally()) }
        let all = tallies.values.reduce(into: Tally()) { all, one in
            all.nights += one.nights
            all.grants += one.grants
            all.awake += one.awake
            all.trained += one.trained
            all.longestIdle = max(all.longestIdle, one.longestIdle)
            all.mostStepsLost = max(all.mostStepsLost, one.mostStepsLost)
        }
        let heading = [line(columns), "|" + columns.map { _ in "---|" }.joined()]
        return (heading + rows + [row("all", all)]).joined(separator: "\n")
    }

    private func row(_ name: String, _ tally: Tally) -> String {
        let rounded = [tally.awake, tally.trained].map { "\(($0 + seconds(30)) / minutes(1))" }
        let hundredths = tally.trained > 0 ? tally.awake * 100 / tally.trained : nil
        let ratio = hundredths.map { "\($0 / 100).\($0 / 10 % 10)\($0 % 10)" } ?? "–"
        let cells = [name, "\(tally.nights)", "\(tally.grants)"] + rounded
        return line(cells + [ratio, "\(tally.longestIdle / 1000) s", "\(tally.mostStepsLost)"])
    }

    private func line(_ cells: [String]) -> String {
        "| " + cells.joined(separator: " | ") + " |"
    }
}
