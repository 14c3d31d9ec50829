/// Those who want to hear that something has changed.
package final class Observers: Sendable {
    private struct State {
        var handlers: [Int: @Sendable () -> Void] = [:]
        var added = 0
    }

    private let state = Locked(State())

    package init() {}

    /// Has `handler` called at each change, until what is returned is called.
    package func add(_ handler: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        state.withLock { state in
            let number = state.added
            state.added += 1
            state.handlers[number] = handler
            return { [weak self] in self?.state.withLock { $0.handlers[number] = nil } }
        }
    }

    /// Tells all of them.
    package func notify() {
        for handler in state.withLock({ Array($0.handlers.values) }) {
            handler()
        }
    }
}
