import Foundation

/// A folder for a store or a model, as private as the system can make it.
public enum ProtectedFolder {
    /// Makes the folder if it is missing, and protects it with what is in it.
    ///
    /// On Apple's systems its files are encrypted until the device is first unlocked after its start (nights train on a
    /// locked device, so complete protection would shut them out), and are in no backup: a store that is restored to
    /// another device is of no use there, because its key stays on this one. Everywhere, only this user may open it.
    ///
    /// - Parameter folder: The folder.
    /// - Returns: The same folder.
    /// - Throws: The file system's errors.
    @discardableResult
    public static func prepare(_ folder: URL) throws -> URL {
        let manager = FileManager.default
        try manager.createDirectory(at: folder, withIntermediateDirectories: true)
        try manager.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder.path)
        #if canImport(Darwin)
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        var marked = folder
        try marked.setResourceValues(values)
        #if !os(macOS)
        // New files get their folder's class; those that are there already need it set.
        try protect(folder)
        let inside = manager.enumerator(at: folder, includingPropertiesForKeys: nil)
        while let file = inside?.nextObject() as? URL {
            try protect(file)
        }
        #endif
        #endif
        return folder
    }

    #if canImport(Darwin) && !os(macOS)
    private static func protect(_ file: URL) throws {
        try FileManager.default.setAttributes(
            [.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication], ofItemAtPath: file.path)
    }
    #endif
}
