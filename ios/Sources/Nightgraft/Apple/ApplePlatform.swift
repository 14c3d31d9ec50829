#if canImport(UIKit) && os(iOS)
// Its C variable for this task's port is not marked as safe to read from any thread, which it is.
@preconcurrency import Darwin
import Foundation
import UIKit
import os

/// The state of this iPhone or iPad: battery, temperature level, low power mode, memory and storage.
///
/// Make one on the main actor when the app launches, and keep it: it listens to the system from then on. Simulators have
/// no battery; nights wait there with ``Waiting/Kind-swift.enum/unreadable``.
public final class ApplePlatform: Platform {
    /// What only the main actor may ask for, as it was when it last changed.
    private struct CachedState: Sendable {
        var battery = DeviceReading.Battery.unknown
        var batteryLevel = -1.0
        var inForeground = true
    }

    private let cached = Locked(CachedState())
    private let storage: URL
    private let observers = Locked<[Observer]>([])

    /// Begins to watch the device.
    ///
    /// - Parameters:
    ///   - storage: A folder on the volume whose free space counts. Default: the app's home.
    ///   - onChange: Called when the charger, the battery, the temperature level or the low power mode changes. Pass it
    ///     on to ``BackgroundPersonalization/deviceChanged()`` or ``PersonalizationSession/deviceChanged()``.
    @MainActor
    public init(
        storage: URL = URL(fileURLWithPath: NSHomeDirectory()), onChange: (@Sendable () -> Void)? = nil
    ) {
        self.storage = storage
        UIDevice.current.isBatteryMonitoringEnabled = true
        refresh()
        observe(
            [
                UIDevice.batteryLevelDidChangeNotification,
                UIDevice.batteryStateDidChangeNotification,
                UIApplication.didEnterBackgroundNotification,
                UIApplication.didBecomeActiveNotification,
                ProcessInfo.thermalStateDidChangeNotification,
                .NSProcessInfoPowerStateDidChange,
            ], onChange: onChange)
    }

    deinit {
        for observer in observers.withLock({ $0 }) {
            NotificationCenter.default.removeObserver(observer.token)
        }
    }

    /// Reads the state, from any thread.
    ///
    /// - Returns: The state now.
    public func state() -> DeviceState {
        let cached = cached.withLock { $0 }
        let values = try? storage.resourceValues(forKeys: [.volumeAvailableCapacityForImportantUsageKey])
        let reading = DeviceReading(
            battery: cached.battery,
            batteryLevel: cached.batteryLevel,
            thermalLevel: ProcessInfo.processInfo.thermalState.rawValue,
            lowPowerMode: ProcessInfo.processInfo.isLowPowerModeEnabled,
            inForeground: cached.inForeground,
            memoryFree: Int(clamping: os_proc_available_memory()),
            memoryHeld: Self.footprint(),
            storageFree: values?.volumeAvailableCapacityForImportantUsage)
        return reading.state(now: Date(), timeZone: .current)
    }

    @MainActor
    private func refresh() {
        let device = UIDevice.current
        let battery: DeviceReading.Battery =
            switch device.batteryState {
            case .unplugged: .unplugged
            case .charging: .charging
            case .full: .full
            case .unknown: .unknown
            @unknown default: .unknown
            }
        let level = Double(device.batteryLevel)
        let inForeground = UIApplication.shared.applicationState != .background
        cached.withLock { $0 = CachedState(battery: battery, batteryLevel: level, inForeground: inForeground) }
    }

    @MainActor
    private func observe(_ names: [Notification.Name], onChange: (@Sendable () -> Void)?) {
        let added = names.map { name in
            let token = NotificationCenter.default.addObserver(forName: name, object: nil, queue: .main) {
                [weak self] _ in
                MainActor.assumeIsolated { self?.refresh() }
                onChange?()
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
