internal import NightgraftGenerated

/// The changes of a store: ``AdapterStore/changes``.
///
/// The first element comes at once, and one after every change of examples, grafts, which of them is in use, or nights.
/// Changes that come while nobody waits are told as one. It ends when the store is closed, or its task cancelled.
public struct StoreChanges: AsyncSequence, Sendable {
    /// An element says nothing but that the store is to be read again.
    public typealias Element = Void

    let store: FFI.Store

    /// Waits for one change after the other.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let changes: FFI.StoreChanges

        /// Waits for the next change.
        ///
        /// - Returns: Nothing but that there is one; `nil` if none will come.
        public mutating func next() async -> Void? {
            let changes = changes
            return await withTaskCancellationHandler {
                await changes.next() ? () : nil
            } onCancel: {
                changes.cancel()
            }
        }
    }

    /// Begins to wait.
    ///
    /// - Returns: What waits.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(changes: store.changes())
    }
}
