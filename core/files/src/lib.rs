//! Files as everything that must not be lost is written: whole or not at all ([`atomic`]), for their owner alone, on a disk
//! that tests can make fail at any operation ([`file_system`]).

#![forbid(unsafe_code)]

pub mod atomic;
mod error;
pub mod file_system;

pub use error::{Error, Result};
