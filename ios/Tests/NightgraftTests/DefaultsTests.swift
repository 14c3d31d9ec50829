import Foundation
import NightgraftGenerated
import XCTest

@testable import Nightgraft

/// The defaults that the documentation of the settings names are those of the library.
final class DefaultsTests: XCTestCase {
    func testSessionSettings() throws {
        // No gate at all means the default one to the library.
        let expected = NightgraftGenerated.SessionSettings(gate: NightgraftGenerated.GateSettings())
        XCTAssertEqual(try Nightgraft.SessionSettings().ffi(), expected)
    }

    func testNightRules() throws {
        XCTAssertEqual(try Nightgraft.NightRules().ffi(), NightgraftGenerated.NightRules())
        XCTAssertEqual(try Nightgraft.NightRules.whileUsed.ffi(), NightgraftGenerated.rulesWhileUsed())
    }

    func testStoreSettings() throws {
        XCTAssertEqual(
            try Nightgraft.StoreSettings.unencrypted().ffi(), NightgraftGenerated.StoreSettings(key: nil))
        let key = StoreKey.random()
        XCTAssertEqual(
            try Nightgraft.StoreSettings(key: key).ffi(),
            NightgraftGenerated.StoreSettings(key: key.withBytes { $0 }))
    }

    func testChatOptions() throws {
        XCTAssertEqual(try Nightgraft.ChatOptions().ffi(), NightgraftGenerated.ChatOptions())
    }

    func testNumbersThatDoNotFitAreRefusedByName() {
        for settings in [Nightgraft.SessionSettings(rank: -1), Nightgraft.SessionSettings(rank: 1 << 40)] {
            XCTAssertThrowsError(try settings.ffi()) { error in
                guard case Nightgraft.NightgraftError.unsupported(let reason) = error else {
                    return XCTFail("\(error)")
                }
                XCTAssert(reason.contains("rank"), reason)
            }
        }
    }

    func testLayersTargetsAndDevicesAreWrittenAsTheLibraryReadsThem() throws {
        XCTAssertEqual(AdapterLayers.all.text, "all")
        XCTAssertEqual(AdapterLayers.last(4).text, "last:4")
        XCTAssertEqual(AdapterLayers.range(2..<9).text, "2..9")
        XCTAssertEqual(AdapterTargets.attention.rawValue, "attn")
        let devices = [ComputeDevice.processor, .automatic, .gpu(), .gpu(number: 2)]
        XCTAssertEqual(try devices.map { try $0.text }, ["cpu", "auto", "gpu", "gpu:2"])
    }

    func testDurations() {
        XCTAssertEqual(Duration.milliseconds(1250).inSeconds, 1.25, accuracy: 1e-12)
        XCTAssertEqual(duration(seconds: 90), .seconds(90))
        XCTAssertNil(duration(seconds: .infinity))
        XCTAssertNil(duration(seconds: .nan))
        XCTAssertNil(duration(seconds: nil))
    }
}
