import Foundation

/// What a system says of its device, in the system's own terms. Making a ``DeviceState`` of it is done here,
/// where it is tested on every system.
struct DeviceReading: Sendable {
    var screen: ScreenReading
    /// `ProcessInfo.ThermalState`'s raw value.
    var thermalLevel: Int
    var lowPowerMode: Bool
    /// What `os_proc_available_memory` says.
    var memoryFree: Int
    /// The process's footprint in bytes.
    var memoryHeld: Int
    /// The volume's capacity for important usage; nil where it cannot be read.
    var storageFree: Int64?

    /// The state. A battery that cannot be read has a charge of -1 and storage that cannot be read is full, on which a night
    /// waits.
    func state(now: Date, timeZone: TimeZone) -> DeviceState {
        DeviceState(
            charging: screen.battery == .charging || screen.battery == .full,
            battery: screen.battery == .unknown ? -1 : screen.batteryLevel,
            thermal: Thermal(systemLevel: thermalLevel),
            lowPowerMode: lowPowerMode,
            // The system says to nobody whether its owner uses another app. It starts processing tasks when the device
            // lies still; what the app itself can add is whether its own window is in front.
            idle: !screen.inForeground,
            memoryAvailable: Self.sum(memoryFree, memoryHeld),
            storageFree: Int(clamping: max(0, storageFree ?? 0)),
            unixSeconds: Int(now.timeIntervalSince1970.rounded(.down)),
            utcOffsetSeconds: timeZone.secondsFromGMT(for: now))
    }

    private static func sum(_ one: Int, _ other: Int) -> Int {
        let (sum, overflow) = max(0, one).addingReportingOverflow(max(0, other))
        return overflow ? .max : sum
    }
}

extension Thermal {
    /// A level of the system's, `ProcessInfo.ThermalState`. One that is added in the future counts as the hottest.
    init(systemLevel: Int) {
        self = Thermal(rawValue: systemLevel) ?? (systemLevel < 0 ? .nominal : .critical)
    }
}
