internal import NightgraftGenerated

/// The device's state, as far as nights care.
///
/// `ApplePlatform` is the one for iPhone and iPad. Tests and other systems bring their own. It must not close the session
/// that asks it, nor its store: they wait for its answer.
public protocol Platform: Sendable {
    /// Reads the state; called every half second at most, from a thread of the library. It should be quick.
    ///
    /// A single value that cannot be read is best given as nonsense, such as a battery of -1: the night then waits, with
    /// ``Waiting/Kind-swift.enum/unreadable``.
    ///
    /// - Returns: The state now.
    /// - Throws: Any error. The night ends, saved, and throws the same error to its caller.
    func state() throws -> DeviceState

    /// Has `onChange` called when the state changes: a night that waits then looks at it at once. Without it, which is the
    /// default, a night looks by itself, every half second.
    ///
    /// - Parameter onChange: What is called, from any thread.
    /// - Returns: What ends that.
    func observe(_ onChange: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}

extension Platform {
    /// Tells of no change.
    ///
    /// - Parameter onChange: What is not called.
    /// - Returns: What does nothing.
    public func observe(_ onChange: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        return {}
    }
}

/// What a device tells of itself.
public struct DeviceState: Sendable, Hashable {
    /// Whether a charger gives power.
    public var charging: Bool
    /// The battery's charge, from 0 to 1.
    public var battery: Double
    /// How warm the system says that the device is.
    public var thermal: Thermal
    /// The device's temperature in °C, where it is known.
    public var temperature: Double?
    /// Whether the low power mode is on.
    public var lowPowerMode: Bool
    /// Whether nobody uses the device.
    public var idle: Bool
    /// The memory that training may have, in bytes: what is free for this process, and what it holds already.
    public var memoryAvailable: Int
    /// Free storage, in bytes.
    public var storageFree: Int
    /// The time, in seconds since 1970.
    public var unixSeconds: Int
    /// What the local time is ahead of UTC, in seconds.
    public var utcOffsetSeconds: Int

    /// What a device tells of itself. Every parameter is described at the property of its name.
    ///
    /// - Parameters:
    ///   - charging: Whether a charger gives power.
    ///   - battery: The battery's charge, from 0 to 1.
    ///   - thermal: How warm the system says that the device is.
    ///   - temperature: The temperature in °C, where it is known.
    ///   - lowPowerMode: Whether the low power mode is on.
    ///   - idle: Whether nobody uses the device.
    ///   - memoryAvailable: The memory that training may have, in bytes.
    ///   - storageFree: Free storage, in bytes.
    ///   - unixSeconds: The time, in seconds since 1970.
    ///   - utcOffsetSeconds: What the local time is ahead of UTC, in seconds.
    public init(
        charging: Bool, battery: Double, thermal: Thermal, temperature: Double? = nil, lowPowerMode: Bool, idle: Bool,
        memoryAvailable: Int, storageFree: Int, unixSeconds: Int, utcOffsetSeconds: Int
    ) {
        self.charging = charging
        self.battery = battery
        self.thermal = thermal
        self.temperature = temperature
        self.lowPowerMode = lowPowerMode
        self.idle = idle
        self.memoryAvailable = memoryAvailable
        self.storageFree = storageFree
        self.unixSeconds = unixSeconds
        self.utcOffsetSeconds = utcOffsetSeconds
    }
}

/// How warm a device is, in the system's four levels.
public enum Thermal: Int, Sendable, Hashable, Comparable, CaseIterable {
    /// As always.
    case nominal
    /// Slightly warm.
    case fair
    /// Hot; the system slows down.
    case serious
    /// Too hot.
    case critical

    /// Whether one level is cooler than another.
    ///
    /// - Parameters:
    ///   - left: One level.
    ///   - right: Another.
    /// - Returns: Whether `left` is the cooler one.
    public static func < (left: Thermal, right: Thermal) -> Bool {
        left.rawValue < right.rawValue
    }
}

extension DeviceState {
    var ffi: FFI.DeviceState {
        FFI.DeviceState(
            charging: charging,
            battery: battery,
            thermal: thermal.ffi,
            temperature: temperature,
            lowPowerMode: lowPowerMode,
            idle: idle,
            memoryAvailable: UInt64(clamping: memoryAvailable),
            storageFree: UInt64(clamping: storageFree),
            unixSeconds: Int64(unixSeconds),
            utcOffsetSeconds: Int32(clamping: utcOffsetSeconds))
    }
}

extension Thermal {
    var ffi: FFI.Thermal {
        switch self {
        case .nominal: .nominal
        case .fair: .fair
        case .serious: .serious
        case .critical: .critical
        }
    }
}
