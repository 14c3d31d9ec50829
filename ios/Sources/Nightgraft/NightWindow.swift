import Foundation

/// The hours in which a night may train, in local time. They may pass midnight.
public struct NightWindow: Sendable, Hashable {
    /// From 22:00 to 7:00.
    public static let night = NightWindow(from: TimeOfDay(hour: 22), to: TimeOfDay(hour: 7))

    /// When it opens.
    public let opens: TimeOfDay
    /// When it closes; this minute is not in it.
    public let closes: TimeOfDay

    /// The hours between two times of day.
    ///
    /// The result is `nil`, which ``NightRules/window`` takes as any time, if the two are the same.
    ///
    /// - Parameters:
    ///   - opens: When it opens.
    ///   - closes: When it closes.
    public init?(opens: TimeOfDay, closes: TimeOfDay) {
        guard opens != closes else { return nil }
        self.init(from: opens, to: closes)
    }

    private init(from opens: TimeOfDay, to closes: TimeOfDay) {
        self.opens = opens
        self.closes = closes
    }

    /// As the library reads it.
    var text: String {
        "\(opens.text)-\(closes.text)"
    }

    func contains(_ date: Date, calendar: Calendar) -> Bool {
        let parts = calendar.dateComponents([.hour, .minute], from: date)
        let minute = TimeOfDay(hour: parts.hour ?? 0, minute: parts.minute ?? 0).minutes
        guard opens.minutes < closes.minutes else { return minute >= opens.minutes || minute < closes.minutes }
        return (opens.minutes..<closes.minutes).contains(minute)
    }
}

/// A time of day to the minute, in local time.
public struct TimeOfDay: Sendable, Hashable {
    /// Minutes after midnight, from 0 to 1439.
    public let minutes: Int

    /// A time of day. What is beyond a day counts on from midnight: 24:00 is 0:00.
    ///
    /// - Parameters:
    ///   - hour: Hours after midnight.
    ///   - minute: Minutes after the hour.
    public init(hour: Int, minute: Int = 0) {
        let day = 24 * 60
        minutes = (hour % 24 * 60 + minute % day + 2 * day) % day
    }

    /// As the library reads it, `07:05` for example.
    var text: String {
        [minutes / 60, minutes % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }

    /// The next moment after `date` at which clocks show it.
    func next(after date: Date, calendar: Calendar) -> Date {
        let time = DateComponents(hour: minutes / 60, minute: minutes % 60)
        return calendar.nextDate(after: date, matching: time, matchingPolicy: .nextTime) ?? date + 24 * 3600
    }
}
