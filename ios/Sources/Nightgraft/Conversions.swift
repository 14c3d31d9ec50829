import Foundation

extension Duration {
    /// A length in seconds, with its fraction.
    package var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}

extension URL {
    /// The path for the Rust library.
    ///
    /// - Throws: ``NightgraftError/unsupported(reason:)`` if this is no file.
    func filePath() throws -> String {
        guard isFileURL else {
            throw NightgraftError.unsupported(reason: "only files can be opened, not \(scheme ?? "unknown") URLs")
        }
        return path
    }
}

/// An app's number as the Rust library takes it.
///
/// - Throws: ``NightgraftError/unsupported(reason:)`` naming the setting if the number does not fit.
func unsigned<Number: FixedWidthInteger & UnsignedInteger>(_ number: Int, _ setting: String) throws -> Number {
    guard let converted = Number(exactly: number) else {
        throw NightgraftError.unsupported(reason: "\(setting) cannot be \(number)")
    }
    return converted
}

/// Converts an app's number that may be absent, as the other function does one that is there.
func unsigned<Number: FixedWidthInteger & UnsignedInteger>(_ number: Int?, _ setting: String) throws -> Number? {
    try number.map { try unsigned($0, setting) as Number }
}

/// A length that Rust gave in seconds; none if it is no number that a `Duration` holds.
func duration(seconds: Double?) -> Duration? {
    guard let seconds, seconds.isFinite, abs(seconds) < 1e12 else { return nil }
    return .seconds(seconds)
}
