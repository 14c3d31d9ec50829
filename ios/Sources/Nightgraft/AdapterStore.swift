import Foundation
internal import NightgraftGenerated

/// The folder that outlives a night: examples, the session under way and the grafts, which are the trained adapters.
///
/// One process has a store open at a time, once. It is closed when the last object that uses it is gone, or by
/// ``close()``. While a session trains, reading does not disturb it, and a change makes it pause for a moment; nothing is
/// lost and nothing has to be stopped for it.
public final class AdapterStore: Sendable {
    let handle: FFI.Store

    /// Opens a store, or makes one.
    ///
    /// - Parameters:
    ///   - folder: The store's folder, on a local disk.
    ///   - settings: The key, the quota and how much is kept; ``StoreSettings/unencrypted(quota:keptGrafts:createsIfMissing:seed:)``
    ///     for a store without a key.
    /// - Throws: ``NightgraftError/storeLocked(reason:)`` if it is open already, ``NightgraftError/wrongKey(reason:)``,
    ///   ``NightgraftError/corrupted(reason:)``, ``NightgraftError/storageFull(reason:)``, and
    ///   ``NightgraftError/unsupported(reason:)`` if a key is needless, or if there is no store and none is made.
    public init(at folder: URL, settings: StoreSettings) async throws {
        let path = try folder.filePath()
        let converted = try settings.ffi()
        handle = try await translating { try await FFI.Store.open(folder: path, settings: converted) }
    }

    /// Opens an encrypted store, or makes one, with the default settings.
    ///
    /// - Parameters:
    ///   - folder: The store's folder, on a local disk.
    ///   - key: The key, which must be the one that the store was made with.
    /// - Throws: As the other initializer.
    public convenience init(at folder: URL, key: StoreKey) async throws {
        try await self.init(at: folder, settings: StoreSettings(key: key))
    }

    // MARK: Examples

    /// Adds examples to learn from, all or none. One that is there already keeps its number.
    ///
    /// - Parameter examples: What to learn from.
    /// - Returns: The examples' numbers, in the same order.
    /// - Throws: ``NightgraftError/invalidData(reason:)``, ``NightgraftError/storageFull(reason:)``.
    @discardableResult
    public func add(_ examples: [Example]) async throws -> [StoredExample.ID] {
        let converted = examples.map(\.ffi)
        return try await translating { try await handle.add(examples: converted) }
    }

    /// Adds the examples of a file: `.jsonl` with one a line (`messages`, `prompt` and `completion`, or `text`), or
    /// `.txt`.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - skippingBadLines: Whether lines that are no examples are counted and left out, instead of refusing the file.
    /// - Returns: What was found.
    /// - Throws: ``NightgraftError/invalidData(reason:)``, ``NightgraftError/storageFull(reason:)``.
    @discardableResult
    public func add(contentsOf file: URL, skippingBadLines: Bool = false) async throws -> ImportReport {
        let path = try file.filePath()
        return try await translating {
            ImportReport(try await handle.importFile(path: path, skipBad: skippingBadLines))
        }
    }

    /// All examples, oldest first.
    ///
    /// - Returns: The examples.
    /// - Throws: ``NightgraftError``.
    public func examples() async throws -> [StoredExample] {
        try await translating { try await handle.examples().map(StoredExample.init) }
    }

    /// Deletes examples, and everything that was learned from them: from here on the graft that was in use last and never
    /// saw them is in use, or the base, and the grafts that saw them are deleted. Call ``Generator/useCurrentGraft(of:)``
    /// afterwards, because a generator goes on with the graft that it has, and ask for a night: it learns what is left.
    ///
    /// The examples are the last to go. After an error or a crash, forget those that ``examples()`` still lists again.
    ///
    /// - Parameter examples: Their numbers; those of examples that were deleted before may be among them.
    /// - Returns: What is gone, and what is in use now.
    /// - Throws: ``NightgraftError``.
    @discardableResult
    public func forget(_ examples: some Sequence<StoredExample.ID>) async throws -> ForgetReport {
        let ids = Array(examples)
        return try await translating { ForgetReport(try await handle.forget(ids: ids)) }
    }

    /// Writes all examples to a `.jsonl` file, which ``add(contentsOf:skippingBadLines:)`` reads. The file is whole or not
    /// there, and it is not encrypted.
    ///
    /// - Parameter file: The file, outside of the store's folder.
    /// - Returns: How many examples there are.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if it cannot be there, ``NightgraftError/storageFull(reason:)``.
    @discardableResult
    public func exportExamples(to file: URL) async throws -> Int {
        let path = try file.filePath()
        return try await translating { Int(clamping: try await handle.exportExamples(to: path)) }
    }

    /// Deletes examples. Their text is gone from every file of the store, and grafts that learned from them are marked.
    ///
    /// - Parameter examples: Their numbers; unknown ones are left out.
    /// - Returns: What was deleted, and which grafts had seen it.
    /// - Throws: ``NightgraftError``.
    @discardableResult
    public func delete(_ examples: some Sequence<StoredExample.ID>) async throws -> DeleteReport {
        let ids = Array(examples)
        return try await translating { DeleteReport(try await handle.delete(ids: ids)) }
    }

    // MARK: Grafts

    /// All grafts, oldest first.
    ///
    /// - Returns: The grafts.
    /// - Throws: ``NightgraftError``.
    public func grafts() async throws -> [Graft] {
        try await translating { try await handle.grafts().map(Graft.init) }
    }

    /// The graft in use.
    ///
    /// - Returns: Its number, or `nil` if the base itself is in use.
    /// - Throws: ``NightgraftError``.
    public func currentGraft() async throws -> Graft.ID? {
        try await translating { try await handle.current() }
    }

    /// Brings a graft into use.
    ///
    /// - Parameters:
    ///   - graft: Its number.
    ///   - ignoringVerdict: Whether a graft that the gate refused comes into use too.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if the gate refused it.
    public func promote(_ graft: Graft.ID, ignoringVerdict: Bool = false) async throws {
        try await translating {
            if ignoringVerdict {
                try await handle.promoteAnyway(id: graft)
            } else {
                try await handle.promote(id: graft)
            }
        }
    }

    /// Goes back to what was in use before.
    ///
    /// - Returns: The graft in use afterwards, or `nil` for the base itself.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if no graft is in use.
    @discardableResult
    public func rollBack() async throws -> Graft.ID? {
        try await translating { try await handle.rollback() }
    }

    /// Deletes a graft that is not in use.
    ///
    /// - Parameter graft: Its number.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if it is in use.
    public func deleteGraft(_ graft: Graft.ID) async throws {
        try await translating { try await handle.deleteGraft(id: graft) }
    }

    /// Writes a graft for other programs.
    ///
    /// - Parameters:
    ///   - graft: Its number.
    ///   - format: Whose format.
    ///   - model: The model that it belongs to.
    ///   - destination: The folder (``Graft/Format/peft``) or the file (``Graft/Format/gguf``) to make.
    /// - Throws: ``NightgraftError``.
    public func export(_ graft: Graft.ID, as format: Graft.Format, model: BaseModel, to destination: URL) async throws {
        let path = try destination.filePath()
        try await translating {
            try await handle.export(id: graft, format: format.ffi, model: model.handle, to: path)
        }
    }

    // MARK: Nights

    /// Tells when the store is to be read again.
    public var changes: StoreChanges {
        StoreChanges(store: handle)
    }

    /// What became of the nights on this store, oldest first: when each was, what it waited for, what it did. The latest
    /// hundred are kept.
    ///
    /// - Returns: The nights; the last one may be going on.
    /// - Throws: ``NightgraftError``.
    public func nights() async throws -> [NightRecord] {
        try await translating { try await handle.nights().map(NightRecord.init) }
    }

    // MARK: The store itself

    /// Writes the store anew under another key; what deleted files left behind stays shut away under the old one.
    ///
    /// Keep both keys until this returns: after a crash in between, open the store with both
    /// (``StoreSettings/formerKey``), and the change is finished. ``KeyStorage/rotate(_:)`` keeps them.
    ///
    /// - Parameter key: The new key.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if the store is not encrypted.
    public func rotateKey(to key: StoreKey) async throws {
        try await translating { try await handle.rotateKey(newKey: key.data) }
    }

    /// Reads every file of the store and checks it.
    ///
    /// - Returns: What is damaged; empty if nothing is.
    /// - Throws: ``NightgraftError``.
    public func verify() async throws -> [Damage] {
        try await translating { try await handle.verify().map(Damage.init) }
    }

    /// What the store takes on the disk.
    ///
    /// - Returns: Bytes.
    /// - Throws: ``NightgraftError``.
    public func bytesUsed() async throws -> Int {
        try await translating { Int(clamping: try await handle.bytesUsed()) }
    }

    /// Wipes a store, for which no key is needed: what its keys are wrapped in first, then every other file, then the folder
    /// itself.
    ///
    /// A folder that is empty or not there has nothing to wipe. After a crash in between the store does not open any more,
    /// and a second call goes on. The app's own key is deleted where it is kept.
    ///
    /// - Parameter folder: The store's folder.
    /// - Returns: What is gone, and what was none of the store's and stays.
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if the folder is not a store's, and then nothing in it is touched;
    ///   ``NightgraftError/storeLocked(reason:)`` if it is open.
    @discardableResult
    public static func destroy(at folder: URL) async throws -> DestroyReport {
        let path = try folder.filePath()
        return try await translating { DestroyReport(try await NightgraftGenerated.destroyStore(folder: path)) }
    }

    /// Closes the store now, whoever still uses it: every later call fails with ``NightgraftError/cancelled(reason:)``.
    ///
    /// - Throws: ``NightgraftError``.
    public func close() async throws {
        try await translating { try await handle.release() }
    }
}
