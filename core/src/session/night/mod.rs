//! A night: training in the slices that a device grants, as the policy allows.
//!
//! A [`Platform`] is the only way to see the device; a phone's implementation asks the system. What happens is told as
//! [`NightEvent`]s; what is left of it stands in the store as a [`NightRecord`].

mod event;
mod log;
mod platform;
mod runner;
mod work;

pub use event::{NightEvent, NightOutcome, SliceEnd};
pub use log::{Interruption, NightEnd, NightRecord, NightWait, nights, note_interruption};
pub use platform::Platform;
pub use runner::{GrantedTime, run_night, usage};
