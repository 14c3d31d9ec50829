internal import NightgraftGenerated

/// When a night may train, and how hard. The defaults suit a phone on its charger.
///
/// At the temperature level ``Thermal/fair`` it works half of the time; at ``Thermal/serious`` it pauses for five minutes at
/// least, until the level is ``Thermal/fair`` again.
public struct NightRules: Sendable, Hashable {
    /// Only while a charger gives power. Default: true.
    public var chargingOnly = true
    /// Below this charge (0 to 1) it waits, on the charger too. Default: 0.3.
    public var batteryFloor = 0.3
    /// Once it waited for the battery, it goes on at this charge. Default: 0.4.
    public var batteryResume = 0.4
    /// Wait while the low power mode is on. Default: true.
    public var respectsLowPower = true
    /// From this temperature (°C) on it works a part of the time only. Default: 37.
    public var slowFromCelsius = 37.0
    /// At this temperature (°C) it pauses. Default: 41.
    public var pauseAtCelsius = 41.0
    /// Once it paused, it goes on at this temperature (°C). Default: 38.
    public var resumeAtCelsius = 38.0
    /// Only while nobody uses the device. Default: true.
    public var idleOnly = true
    /// After use, the device must be left alone for this long. Default: 60 s.
    public var idleGrace = Duration.seconds(60)
    /// Only within these hours. ``BackgroundPersonalization`` asks for its grants in them. Default: any time.
    public var window: NightWindow?
    /// When the budgets of a day begin anew. Default: 12:00, which gives a night one budget instead of two halves.
    public var dayBegins = TimeOfDay(hour: 12)
    /// Minutes of work in a day. Default: 360.
    public var minutesPerDay = 360
    /// Energy in a day, in Wh, at an assumed draw of 4 W: phones do not tell. Default: 30.
    public var energyWattHoursPerDay = 30.0
    /// Bytes written in a day: flash memory wears. Default: 4 GiB.
    public var flashBytesPerDay = 4096 << 20
    /// Bytes of memory that are left to others. Default: 256 MiB.
    public var memoryReserve = 256 << 20
    /// Bytes of storage that are left free. Default: 1 GiB.
    public var storageReserve = 1024 << 20

    /// The default rules; change what should differ.
    public init() {}

    /// The default rules from 22:00 to 7:00.
    public static var atNight: NightRules {
        var rules = NightRules()
        rules.window = .night
        return rules
    }

    /// The rules for training that the owner asks for from a screen: as the defaults, but also while somebody uses the device.
    /// Charger, battery, heat, memory and budgets count as ever.
    public static var whileUsed: NightRules {
        var rules = NightRules()
        rules.idleOnly = false
        return rules
    }

    func ffi() throws -> FFI.NightRules {
        FFI.NightRules(
            chargingOnly: chargingOnly,
            batteryFloor: batteryFloor,
            batteryResume: batteryResume,
            respectLowPower: respectsLowPower,
            slowFromCelsius: slowFromCelsius,
            pauseAtCelsius: pauseAtCelsius,
            resumeAtCelsius: resumeAtCelsius,
            idleOnly: idleOnly,
            idleGraceSeconds: try unsigned(Int(idleGrace.components.seconds), "idleGrace"),
            window: window?.text,
            dayBegins: dayBegins.text,
            minutesPerDay: try unsigned(minutesPerDay, "minutesPerDay"),
            energyWhPerDay: energyWattHoursPerDay,
            flashBytesPerDay: try unsigned(flashBytesPerDay, "flashBytesPerDay"),
            memoryReserve: try unsigned(memoryReserve, "memoryReserve"),
            storageReserve: try unsigned(storageReserve, "storageReserve"))
    }
}
