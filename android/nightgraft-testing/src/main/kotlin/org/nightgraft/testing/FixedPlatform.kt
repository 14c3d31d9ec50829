package org.nightgraft.testing

import org.nightgraft.DeviceState
import org.nightgraft.Platform

/**
 * A device that is as a test says. A night that waits sees a change at once if it is told with
 * [org.nightgraft.PersonalizationSession.deviceChanged], and otherwise when it looks the next time.
 *
 * @property device how the device is, but for its time, which is the clock's
 * @property clock the device's clock
 */
public class FixedPlatform(
    @Volatile public var device: DeviceState = DeviceState.ready,
    public val clock: TestClock = TestClock(),
) : Platform {
    override fun state(): DeviceState = device.copy(time = clock.now)
}
