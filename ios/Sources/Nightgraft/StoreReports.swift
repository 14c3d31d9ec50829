import Foundation
internal import NightgraftGenerated

/// What a file of examples brought.
public struct ImportReport: Sendable, Hashable {
    /// Lines in the file.
    public let lines: Int
    /// Examples that are new.
    public let added: Int
    /// Examples that were there already.
    public let known: Int
    /// Lines that are no examples.
    public let skipped: Int
    /// The numbers of all of the file's examples.
    public let ids: [StoredExample.ID]
}

/// An example in a store.
public struct StoredExample: Sendable, Hashable, Identifiable {
    /// The example's number in its store.
    public let id: UInt64
    /// When it was added.
    public let added: Date
    /// The example as a line of JSON (`messages`, `prompt` and `completion`, or `text`).
    public let json: String

    /// The example; `nil` for a line of an imported file that is none of ``Example``'s kinds: it holds token ids, for
    /// example, or other roles.
    public let example: Example?
}

/// What a deletion did.
public struct DeleteReport: Sendable, Hashable {
    /// The examples that are gone.
    public let deleted: [StoredExample.ID]
    /// The grafts that learned from them. They still know something of it: train anew or delete them.
    public let markedGrafts: [Graft.ID]
    /// Whether the session under way had learned from them and was dropped.
    public let sessionDropped: Bool
}

/// What forgetting did.
public struct ForgetReport: Sendable, Hashable {
    /// The examples that are gone.
    public let deleted: [StoredExample.ID]
    /// The grafts that are gone because they learned from them.
    public let deletedGrafts: [Graft.ID]
    /// The graft in use now; `nil` for the base itself.
    public let currentGraft: Graft.ID?
    /// Whether the session under way had learned from them and was dropped.
    public let sessionDropped: Bool
}

/// What wiping a store did. Paths begin at its folder.
public struct DestroyReport: Sendable, Hashable {
    /// The files that are gone.
    public let removed: [String]
    /// The files that were none of the store's; they stay, and the folder with them.
    public let left: [String]
}

/// A damaged file of a store.
public struct Damage: Sendable, Hashable {
    /// The file.
    public let url: URL
    /// What is wrong with it.
    public let problem: String
}

extension ImportReport {
    init(_ report: FFI.ImportReport) {
        lines = Int(clamping: report.lines)
        added = Int(clamping: report.added)
        known = Int(clamping: report.known)
        skipped = Int(clamping: report.skipped)
        ids = report.ids
    }
}

extension StoredExample {
    init(_ stored: FFI.StoredExample) {
        id = stored.id
        added = Date(timeIntervalSince1970: TimeInterval(stored.added))
        json = stored.json
        example = stored.example.flatMap { Example($0) }
    }
}

extension DeleteReport {
    init(_ report: FFI.DeleteReport) {
        deleted = report.deleted
        markedGrafts = report.markedGrafts
        sessionDropped = report.sessionDropped
    }
}

extension ForgetReport {
    init(_ report: FFI.ForgetReport) {
        deleted = report.deleted
        deletedGrafts = report.deletedGrafts
        currentGraft = report.current
        sessionDropped = report.sessionDropped
    }
}

extension DestroyReport {
    init(_ report: FFI.DestroyReport) {
        removed = report.removed
        left = report.left
    }
}

extension Damage {
    init(_ damage: FFI.Damage) {
        url = URL(fileURLWithPath: damage.path)
        problem = damage.problem
    }
}
