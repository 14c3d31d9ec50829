import Foundation

/// When a background task is asked for, and on which conditions.
public struct BackgroundSchedule: Sendable, Hashable {
    /// The task's identifier, which `Info.plist` lists under `BGTaskSchedulerPermittedIdentifiers`.
    public var identifier: String
    /// Whether the system shall wait for a charger. Default: true; it then also lets the task use the processor freely.
    public var requiresExternalPower: Bool
    /// The pause before it goes on in the same night. Default: 15 min.
    public var retryInterval: TimeInterval
    /// The pause after heat, or where other apps need the memory. Default: 30 min.
    public var coolDownInterval: TimeInterval

    /// When a background task is asked for.
    ///
    /// - Parameters:
    ///   - identifier: The task's identifier.
    ///   - requiresExternalPower: Whether the system shall wait for a charger.
    ///   - retryInterval: The pause before it goes on in the same night, in seconds.
    ///   - coolDownInterval: The pause after heat or for want of memory, in seconds.
    public init(
        identifier: String, requiresExternalPower: Bool = true, retryInterval: TimeInterval = 15 * 60,
        coolDownInterval: TimeInterval = 30 * 60
    ) {
        self.identifier = identifier
        self.requiresExternalPower = requiresExternalPower
        self.retryInterval = retryInterval
        self.coolDownInterval = coolDownInterval
    }

    /// The request to submit.
    ///
    /// - Parameters:
    ///   - ending: How the last grant ended; `nil` before the first one.
    ///   - rules: The rules of the night, which say in which hours it may train.
    ///   - now: The time.
    ///   - calendar: The calendar of the device's owner.
    /// - Returns: The request, or `nil` if training makes no sense until the app has done something about an error.
    public func request(
        after ending: BackgroundEnding?, rules: NightRules = .atNight, now: Date = Date(),
        calendar: Calendar = .current
    ) -> BackgroundRequest? {
        let hours = Hours(rules: rules, calendar: calendar)
        return earliestBegin(after: ending, now: now, in: hours).map {
            BackgroundRequest(identifier: identifier, earliestBegin: $0, requiresExternalPower: requiresExternalPower)
        }
    }

    private func earliestBegin(after ending: BackgroundEnding?, now: Date, in hours: Hours) -> Date? {
        switch ending {
        case nil: hours.allowed(from: now)
        case .ended(.finished), .ended(.nothingToDo): hours.nextNight(after: now)
        case .ended(.paused(.policy(let waiting))): begin(after: waiting.kind, now: now, in: hours)
        case .expired, .ended(.paused(.stopped)), .ended(.paused(.deadline)): hours.allowed(from: now + retryInterval)
        case .failed(let error): begin(after: error, now: now, in: hours)
        }
    }

    private func begin(after waiting: Waiting.Kind, now: Date, in hours: Hours) -> Date {
        switch waiting {
        case .minutesUsedUp, .energyUsedUp, .flashUsedUp: hours.nextBudget(after: now)
        // Nobody makes room in the middle of the night.
        case .outsideWindow, .storageLow: hours.nextNight(after: now)
        case .tooWarm, .coolingDown, .memoryLow: hours.allowed(from: now + coolDownInterval)
        case .notCharging, .lowPowerMode, .batteryLow, .inUse, .justUsed, .unreadable:
            hours.allowed(from: now + retryInterval)
        }
    }

    private func begin(after error: NightgraftError?, now: Date, in hours: Hours) -> Date? {
        switch error {
        // The app itself was busy with the store.
        case .storeLocked, .cancelled, nil: hours.allowed(from: now + retryInterval)
        // Another night may find more room, and the model's file whole.
        case .outOfMemoryBudget, .storageFull, .modelChanged: hours.nextNight(after: now)
        case .invalidModel, .invalidData, .corrupted, .wrongKey, .unsupported, .internalError: nil
        }
    }
}

/// The moments at which rules let a night train, on the calendar of the device's owner.
private struct Hours {
    let rules: NightRules
    let calendar: Calendar

    /// `date` if it is within the window, else the window's next opening.
    func allowed(from date: Date) -> Date {
        guard let window = rules.window, !window.contains(date, calendar: calendar) else { return date }
        return window.opens.next(after: date, calendar: calendar)
    }

    /// The window's next opening. Where any time is allowed, the night ends with the day of the budgets.
    func nextNight(after date: Date) -> Date {
        (rules.window?.opens ?? rules.dayBegins).next(after: date, calendar: calendar)
    }

    /// The first moment with new budgets.
    func nextBudget(after date: Date) -> Date {
        allowed(from: rules.dayBegins.next(after: date, calendar: calendar))
    }
}
