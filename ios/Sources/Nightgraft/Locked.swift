import Foundation

/// A value that one thread at a time sees. The standard library's `Mutex` needs a newer system than the package does.
package final class Locked<Value: Sendable>: @unchecked Sendable {
    // Unchecked, because the compiler cannot see that `value` is only touched between lock and unlock.
    private let lock = NSLock()
    private var value: Value

    package init(_ value: Value) {
        self.value = value
    }

    package func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}

/// A flag that is raised once, from any thread.
final class Flag: Sendable {
    private let state = Locked(false)

    var isRaised: Bool {
        state.withLock { $0 }
    }

    /// Returns whether this call raised it.
    @discardableResult
    func raise() -> Bool {
        state.withLock { raised in
            defer { raised = true }
            return !raised
        }
    }
}
