import Foundation
import Nightgraft

/// A device that a test plays.
final class TestPlatform: Platform, @unchecked Sendable {
    private let lock = NSLock()
    private var answer: @Sendable () throws -> DeviceState
    private var asked = 0

    init(_ answer: @escaping @Sendable () throws -> DeviceState) {
        self.answer = answer
    }

    /// How often the state was read.
    var reads: Int {
        lock.withLock { asked }
    }

    func change(to answer: @escaping @Sendable () throws -> DeviceState) {
        lock.withLock { self.answer = answer }
    }

    func state() throws -> DeviceState {
        let answer = lock.withLock {
            asked += 1
            return self.answer
        }
        return try answer()
    }

    /// A phone at night: on its charger, cool, in nobody's hand.
    @Sendable static func asleep() -> DeviceState {
        DeviceState(
            charging: true, battery: 0.9, thermal: .nominal, lowPowerMode: false, idle: true,
            memoryAvailable: 4 << 30, storageFree: 64 << 30, unixSeconds: Int(Date().timeIntervalSince1970),
            utcOffsetSeconds: 0)
    }
}

/// Collects values from any thread.
final class Recorder<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var collected: [Value] = []

    var values: [Value] {
        lock.withLock { collected }
    }

    func add(_ value: Value) {
        lock.withLock { collected.append(value) }
    }
}

/// A door that tests open from another task.
actor Latch {
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func open() {
        isOpen = true
        waiting.forEach { $0.resume() }
        waiting = []
    }

    func wait() async {
        if !isOpen {
            await withCheckedContinuation { waiting.append($0) }
        }
    }
}
