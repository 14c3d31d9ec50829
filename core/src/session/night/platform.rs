//! The device, as a night sees it.

use std::time::Duration;

use nightgraft_policy::DeviceState;

use super::super::StopFlag;
use crate::Result;

/// A device: real or simulated. All times but those of [`Platform::real_time`] are the device's.
pub trait Platform {
    /// Looks at the device.
    ///
    /// # Errors
    /// When the device cannot be asked at all. A single reading that is nonsense is not an error; the policy
    /// deals with it.
    fn state(&mut self) -> Result<DeviceState>;

    /// Device time since the night began. Unlike [`DeviceState::time`], it never jumps or goes back.
    fn elapsed(&self) -> Duration;

    /// Waits for `at_most` this long; returns early when the flag is raised or the device's state changed.
    fn wait(&mut self, at_most: Duration, stop: &StopFlag);

    /// How long `device` time takes on the clock of this process, for deadlines: the same on a device, less in
    /// a simulation that runs faster.
    fn real_time(&self, device: Duration) -> Duration {
        device
    }

    /// The opposite of [`Platform::real_time`]: the device time in which this process worked for `real` time.
    fn device_time(&self, real: Duration) -> Duration {
        real
    }
}
