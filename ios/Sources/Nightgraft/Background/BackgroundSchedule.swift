import Foundation

/// When a background task is asked for, and on which conditions.
public struct BackgroundSchedule: Sendable, Hashable {
    /// The task's identifier, which `Info.plist` lists under `BGTaskSchedulerPermittedIdentifiers`.
    public var identifier: String
    /// Whether the system shall wait for a charger. Default: true; it then also lets the task use the processor freely.
    public var requiresExternalPower: Bool
    /// Hours and minutes between which nights run, in local time. Default: 22:00 to 7:00.
    public var night: NightHours
    /// The pause before it goes on in the same night. Default: 15 min.
    public var retryInterval: TimeInterval
    /// The pause after heat. Default: 30 min.
    public var coolDownInterval: TimeInterval

    /// When a background task is asked for.
    ///
    /// - Parameters:
    ///   - identifier: The task's identifier.
    ///   - requiresExternalPower: Whether the system shall wait for a charger.
    ///   - night: Hours between which nights run.
    ///   - retryInterval: The pause before it goes on in the same night, in seconds.
    ///   - coolDownInterval: The pause after heat, in seconds.
    public init(
        identifier: String, requiresExternalPower: Bool = true, night: NightHours = NightHours(),
        retryInterval: TimeInterval = 15 * 60, coolDownInterval: TimeInterval = 30 * 60
    ) {
        self.identifier = identifier
        self.requiresExternalPower = requiresExternalPower
        self.night = night
        self.retryInterval = retryInterval
        self.coolDownInterval = coolDownInterval
    }

    /// The request to submit.
    ///
    /// - Parameters:
    ///   - ending: How the last grant ended; `nil` before the first one.
    ///   - now: The time.
    ///   - calendar: The calendar of the device's owner.
    /// - Returns: The request, or `nil` if training makes no sense until the app has done something about an error.
    public func request(
        after ending: BackgroundEnding?, now: Date = Date(), calendar: Calendar = .current
    ) -> BackgroundRequest? {
        guard let earliest = earliestBegin(after: ending, now: now, calendar: calendar) else { return nil }
        return BackgroundRequest(
            identifier: identifier, earliestBegin: earliest, requiresExternalPower: requiresExternalPower)
    }

    private func earliestBegin(after ending: BackgroundEnding?, now: Date, calendar: Calendar) -> Date? {
        switch ending {
        case nil:
            return night.next(from: now, calendar: calendar)
        case .expired:
            return night.next(from: now + retryInterval, calendar: calendar)
        case .ended(.finished), .ended(.nothingToDo):
            return night.following(now, calendar: calendar)
        case .ended(.paused(let reason)):
            return begin(after: reason, now: now, calendar: calendar)
        case .failed(let error):
            return begin(after: error, now: now, calendar: calendar)
        }
    }

    private func begin(after reason: PauseReason, now: Date, calendar: Calendar) -> Date {
        guard case .policy(let waiting) = reason else {
            return night.next(from: now + retryInterval, calendar: calendar)
        }
        switch waiting.kind {
        case .minutesUsedUp, .energyUsedUp, .flashUsedUp:
            return night.following(now, calendar: calendar)
        case .tooWarm, .coolingDown:
            return night.next(from: now + coolDownInterval, calendar: calendar)
        case .notCharging, .lowPowerMode, .batteryLow, .inUse, .justUsed, .outsideWindow, .storageLow, .memoryLow,
            .unreadable:
            return night.next(from: now + retryInterval, calendar: calendar)
        }
    }

    private func begin(after error: NightgraftError?, now: Date, calendar: Calendar) -> Date? {
        switch error {
        case .storeLocked, .cancelled, nil:
            // The app itself was busy with the store.
            return night.next(from: now + retryInterval, calendar: calendar)
        case .outOfMemoryBudget, .storageFull, .modelChanged:
            // Another night may find more room, and the model's file whole.
            return night.following(now, calendar: calendar)
        case .invalidModel, .invalidData, .corrupted, .wrongKey, .unsupported, .internalError:
            return nil
        }
    }
}

/// The hours of a night, in local time.
public struct NightHours: Sendable, Hashable {
    /// Minutes after midnight at which it begins.
    public let begins: Int
    /// Minutes after midnight at which it ends; before `begins` if it goes over midnight.
    public let ends: Int

    /// The hours of a night. Minutes outside a day are brought into it.
    ///
    /// - Parameters:
    ///   - begins: Minutes after midnight at which it begins. Default: 22:00.
    ///   - ends: Minutes after midnight at which it ends. Default: 7:00. The same as `begins` means the whole day.
    public init(begins: Int = 22 * 60, ends: Int = 7 * 60) {
        self.begins = min(max(begins, 0), 24 * 60 - 1)
        self.ends = min(max(ends, 0), 24 * 60 - 1)
    }

    func contains(_ date: Date, calendar: Calendar) -> Bool {
        let parts = calendar.dateComponents([.hour, .minute], from: date)
        let minute = (parts.hour ?? 0) * 60 + (parts.minute ?? 0)
        if begins == ends {
            return true
        }
        return begins < ends ? (begins..<ends).contains(minute) : minute >= begins || minute < ends
    }

    /// `date` if it is in a night, else the next night's beginning.
    func next(from date: Date, calendar: Calendar) -> Date {
        contains(date, calendar: calendar) ? date : beginning(after: date, calendar: calendar)
    }

    /// The beginning of the night after the one that `date` is in or follows.
    func following(_ date: Date, calendar: Calendar) -> Date {
        beginning(after: date, calendar: calendar)
    }

    private func beginning(after date: Date, calendar: Calendar) -> Date {
        let time = DateComponents(hour: begins / 60, minute: begins % 60)
        return calendar.nextDate(after: date, matching: time, matchingPolicy: .nextTime) ?? date + 24 * 3600
    }
}

/// A background task to ask the system for.
public struct BackgroundRequest: Sendable, Hashable {
    /// The task's identifier.
    public let identifier: String
    /// The system does not start it before.
    public let earliestBegin: Date
    /// Whether the system waits for a charger.
    public let requiresExternalPower: Bool
}

/// How a background task ended.
public enum BackgroundEnding: Sendable, Hashable {
    /// The session's slice came to its end.
    case ended(SliceOutcome)
    /// The system took the grant back; everything is saved.
    case expired
    /// It failed; `nil` for an error that is not Nightgraft's, thrown by the app's own code.
    case failed(NightgraftError?)
}
