//! When training may run, as pure functions: the state of the device and the rules go in, a decision with its
//! reason comes out.
//!
//! [`decide`] reads no clock and no sensor. Whoever calls it looks at the device ([`DeviceState`]), knows what
//! the work needs ([`Needs`]) and what was spent already ([`Usage`]), and keeps a [`PolicyMemory`] between two
//! looks, so that a value that trembles around a mark does not switch training on and off. Readings that cannot
//! be true never lead to [`Decision::Run`].
//!
//! Whether what was trained may be used is for the [`gate`] to say.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod decide;
mod error;
mod estimate;
pub mod gate;
mod policy_memory;
mod quantity;
mod reason;
mod rules;
mod state;
mod time;
mod usage;

pub use decide::{Decision, MemoryMode, decide};
pub use error::{Allowed, GateLimit, InvalidRule, RuleProblem, RuleValue};
pub use estimate::{Estimate, Pace, estimate};
pub use policy_memory::PolicyMemory;
pub use quantity::{length, percent};
pub use reason::{Reading, Reason, ReasonKind};
pub use rules::Rules;
pub use state::{DeviceState, Needs, Thermal};
pub use time::{LocalTime, TimeOfDay, Window};
pub use usage::{Spent, Usage};
