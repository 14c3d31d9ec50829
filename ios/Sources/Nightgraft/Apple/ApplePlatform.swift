#if canImport(UIKit) && os(iOS)
// Its C variable for this task's port is not marked as safe to read from any thread, which it is.
@preconcurrency import Darwin
import Foundation
import UIKit
import os

/// The state of this iPhone or iPad: battery, temperature level, low power mode, memory and storage.
///
/// Make one on the main actor when the app launches, and keep it: it listens to the system from then on. Simulators have
/// no battery; nights wait there with ``Waiting/Kind-swift.enum/unreadable``, unless `FixedPlatform` of `NightgraftTesting` takes
/// its place.
public final class ApplePlatform: Platform {
    private let monitor: DeviceMonitor

    /// Begins to watch the device.
    ///
    /// - Parameters:
    ///   - storage: A folder on the volume whose free space counts. Default: the app's home.
    ///   - onChange: Called when the charger, the battery, the temperature level or the low power mode changes. Nights
    ///     hear of it by themselves.
    @MainActor
    public init(
        storage: URL = URL(fileURLWithPath: NSHomeDirectory()), onChange: (@Sendable () -> Void)? = nil
    ) {
        UIDevice.current.isBatteryMonitoringEnabled = true
        monitor = DeviceMonitor(source: SystemDevice(storage: storage), onChange: onChange)
    }

    /// Reads the state, from any thread.
    ///
    /// - Returns: The state now.
    public func state() -> DeviceState {
        monitor.state()
    }

    /// Has `onChange` called when the charger, the battery, the temperature level, the low power mode or the app's place in
    /// front changes.
    ///
    /// - Parameter onChange: What is called, on the main actor.
    /// - Returns: What ends that.
    public func observe(_ onChange: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        monitor.observers.add(onChange)
    }
}

/// The system's answers.
private final class SystemDevice: DeviceSource {
    private let storage: URL
    private let observers = Locked<[Observer]>([])

    init(storage: URL) {
        self.storage = storage
    }

    deinit {
        for observer in observers.withLock({ $0 }) {
            NotificationCenter.default.removeObserver(observer.token)
        }
    }

    @MainActor
    func readScreen() -> ScreenReading {
        let device = UIDevice.current
        let battery: ScreenReading.Battery =
            switch device.batteryState {
            case .unplugged: .unplugged
            case .charging: .charging
            case .full: .full
            case .unknown: .unknown
            @unknown default: .unknown
            }
        return ScreenReading(
            battery: battery, batteryLevel: Double(device.batteryLevel),
            inForeground: UIApplication.shared.applicationState != .background)
    }

    func thermalLevel() -> Int {
        ProcessInfo.processInfo.thermalState.rawValue
    }

    func isLowPowerModeEnabled() -> Bool {
        ProcessInfo.processInfo.isLowPowerModeEnabled
    }

    func memory() -> (free: Int, held: Int) {
        (Int(clamping: os_proc_available_memory()), Self.footprint())
    }

    func storageFree() -> Int64? {
        // A URL keeps the values that were read from it.
        var folder = storage
        folder.removeAllCachedResourceValues()
        let values = try? folder.resourceValues(forKeys: [.volumeAvailableCapacityForImportantUsageKey])
        return values?.volumeAvailableCapacityForImportantUsage
    }

    @MainActor
    func observe(_ onChange: @escaping @MainActor @Sendable () -> Void) {
        let names = [
            UIDevice.batteryLevelDidChangeNotification,
            UIDevice.batteryStateDidChangeNotification,
            UIApplication.didEnterBackgroundNotification,
            UIApplication.didBecomeActiveNotification,
            ProcessInfo.thermalStateDidChangeNotification,
            .NSProcessInfoPowerStateDidChange,
        ]
        let added = names.map { name in
            let token = NotificationCenter.default.addObserver(forName: name, object: nil, queue: .main) { _ in
                MainActor.assumeIsolated { onChange() }
            }
            return Observer(token: token)
        }
        observers.withLock { $0 += added }
    }

    /// The memory that counts against this process's limit, in bytes.
    private static func footprint() -> Int {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<integer_t>.size)
        let result = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return result == KERN_SUCCESS ? Int(clamping: info.phys_footprint) : 0
    }

    /// What a notification centre gives for an observer; it is only handed back to the centre.
    private struct Observer: @unchecked Sendable {
        let token: any NSObjectProtocol
    }
}
#endif
