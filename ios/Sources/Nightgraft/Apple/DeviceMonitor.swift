import Foundation

/// What ``DeviceMonitor`` asks of its system, in the system's own terms.
protocol DeviceSource: Sendable {
    /// What only the main actor may ask for.
    @MainActor func readScreen() -> ScreenReading
    /// `ProcessInfo.ThermalState`'s raw value.
    func thermalLevel() -> Int
    func isLowPowerModeEnabled() -> Bool
    /// What `os_proc_available_memory` says, and the process's footprint, in bytes.
    func memory() -> (free: Int, held: Int)
    /// The volume's capacity for important usage; nil where it cannot be read.
    func storageFree() -> Int64?
    /// Has `onChange` called when the charger, the battery, the temperature level, the low power mode or the app's place
    /// in front or behind changes, as long as the source lives.
    @MainActor func observe(_ onChange: @escaping @MainActor @Sendable () -> Void)
}

/// The part of a device's state that comes from its screen's side.
struct ScreenReading: Sendable {
    /// `UIDevice.BatteryState` without its type.
    enum Battery: Sendable {
        case unknown, unplugged, charging, full
    }

    var battery = Battery.unknown
    /// 0 to 1, or -1 where the system does not know, as in a simulator.
    var batteryLevel = -1.0
    var inForeground = true
}

/// Reads a device from any thread: keeps what only the main actor may ask for, and what is dear to ask.
final class DeviceMonitor: Sendable {
    /// How long a reading of the free storage holds. It is another process that is asked, and a night looks twice a second.
    static let storageHolds = Duration.seconds(60)

    /// Who is told of each change.
    let observers = Observers()

    private let source: any DeviceSource
    private let now: @Sendable () -> ContinuousClock.Instant
    private let screen = Locked(ScreenReading())
    private let storage = Locked<(readAt: ContinuousClock.Instant, free: Int64?)?>(nil)

    /// Begins to watch. `onChange` is called at each change.
    @MainActor
    init(
        source: any DeviceSource, now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        onChange: (@Sendable () -> Void)?
    ) {
        self.source = source
        self.now = now
        // ProcessInfo tells of changes of the thermal state only to processes that have read it before they observe it.
        _ = source.thermalLevel()
        refresh()
        source.observe { [weak self] in
            self?.refresh()
            self?.observers.notify()
            onChange?()
        }
    }

    /// The state now.
    func state() -> DeviceState {
        let screen = screen.withLock { $0 }
        let memory = source.memory()
        let reading = DeviceReading(
            screen: screen, thermalLevel: source.thermalLevel(), lowPowerMode: source.isLowPowerModeEnabled(),
            memoryFree: memory.free, memoryHeld: memory.held, storageFree: storageFree())
        return reading.state(now: Date(), timeZone: .current)
    }

    @MainActor
    private func refresh() {
        let read = source.readScreen()
        screen.withLock { $0 = read }
    }

    private func storageFree() -> Int64? {
        storage.withLock { last in
            let now = self.now()
            if let last, now - last.readAt < Self.storageHolds {
                return last.free
            }
            let free = source.storageFree()
            last = (now, free)
            return free
        }
    }
}
