//! Round trips.
#![allow(clippy::unwrap_used)]
