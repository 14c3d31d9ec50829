import Foundation

/// What Linux says of this process.
struct ProcessStatus {
    /// Resident memory in bytes.
    let residentBytes: Int
    let threads: Int
    let openFiles: Int

    static func now() throws -> ProcessStatus {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        func number(_ key: String) throws -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(key + ":") }
            guard let word = line?.split(whereSeparator: \.isWhitespace).dropFirst().first, let number = Int(word)
            else {
                throw CocoaError(.fileReadCorruptFile)
            }
            return number
        }
        return ProcessStatus(
            residentBytes: try number("VmRSS") * 1024,
            threads: try number("Threads"),
            openFiles: try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count)
    }
}
