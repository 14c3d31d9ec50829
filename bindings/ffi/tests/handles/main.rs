//! Handles used as apps use them: from several threads, dropped while they work, a thousand times over.

#![allow(clippy::unwrap_used, clippy::panic)]

mod alone;
mod listeners;
mod nights;
mod owner;
mod sandbox;
mod sessions;
