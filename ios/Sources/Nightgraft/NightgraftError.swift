import Foundation
internal import NightgraftGenerated

/// What can go wrong, in as many cases as an app can act on.
///
/// Reasons are English sentences for developers. They hold files, numbers and settings, never a user's text.
public enum NightgraftError: Error, Sendable, Hashable {
    /// The model file is missing, damaged, or of a kind that cannot be trained.
    case invalidModel(reason: String)
    /// The model's file was changed, replaced or removed while it was in use. What was done before is saved: put the file back,
    /// open the model again and go on.
    case modelChanged(reason: String)
    /// An example, a file of examples or an adapter's file cannot be used.
    case invalidData(reason: String)
    /// Training does not fit into the memory that it may have, in bytes, however slowly it runs.
    case outOfMemoryBudget(needed: Int, available: Int)
    /// The device or the store's quota has no room left.
    case storageFull(reason: String)
    /// The store is open already, in this process or in another.
    case storeLocked(reason: String)
    /// A file of the store is damaged.
    case corrupted(reason: String)
    /// The key is not the one that the store was made with.
    case wrongKey(reason: String)
    /// The work was ended before it was done, or the object that it was asked of is closed. What was done is saved.
    case cancelled(reason: String)
    /// What was asked for cannot be done: settings that make no sense, a store that is not there, a graft that is not
    /// there or was refused, a session that was begun with other settings.
    case unsupported(reason: String)
    /// A mistake in Nightgraft itself. Please report it with the reason.
    case internalError(reason: String)
}

extension NightgraftError: LocalizedError {
    /// The reason as a sentence for developers; show users words of your own.
    public var errorDescription: String? {
        switch self {
        case .outOfMemoryBudget(let needed, let available):
            "training needs \(needed) bytes of memory and may have \(available)"
        case .invalidModel(let reason), .modelChanged(let reason), .invalidData(let reason),
            .storageFull(let reason), .storeLocked(let reason), .corrupted(let reason), .wrongKey(let reason),
            .cancelled(let reason), .unsupported(let reason), .internalError(let reason):
            reason
        }
    }
}

extension NightgraftError {
    init(_ error: FFI.Failure) {
        switch error {
        case .InvalidModel(let reason): self = .invalidModel(reason: reason)
        case .ModelChanged(let reason): self = .modelChanged(reason: reason)
        case .InvalidData(let reason): self = .invalidData(reason: reason)
        case .OutOfMemoryBudget(let needed, let available):
            self = .outOfMemoryBudget(needed: Int(clamping: needed), available: Int(clamping: available))
        case .StorageFull(let reason): self = .storageFull(reason: reason)
        case .StoreLocked(let reason): self = .storeLocked(reason: reason)
        case .Corrupted(let reason): self = .corrupted(reason: reason)
        case .WrongKey(let reason): self = .wrongKey(reason: reason)
        case .Cancelled(let reason): self = .cancelled(reason: reason)
        case .Unsupported(let reason): self = .unsupported(reason: reason)
        case .Internal(let reason): self = .internalError(reason: reason)
        }
    }
}

/// Runs a call of the generated code and gives its errors the shape that apps see.
func translating<Value>(_ call: () async throws -> Value) async throws -> Value {
    do {
        return try await call()
    } catch let error as FFI.Failure {
        throw NightgraftError(error)
    } catch let error as NightgraftError {
        throw error
    } catch {
        // What the generated code throws when the two sides of the binding do not fit, or Rust panicked.
        throw NightgraftError.internalError(reason: "\(error)")
    }
}
